"""List my projects: a Django project that people sign in to with Procore.

Set it up as `docs/how-to/django.md` says, then run it: `python manage.py runserver`.
"""
