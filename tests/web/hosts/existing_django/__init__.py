"""A Django project with tests of its own, run by Django's runner on each kind of database."""
