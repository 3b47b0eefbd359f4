"""The admin."""

from django.contrib import admin

from .models import Session, User


@admin.register(User)
class UserAdmin(admin.ModelAdmin):
    list_display = ("email", "is_staff", "is_active")
    search_fields = ("email",)
    exclude = ("password",)


admin.site.register(Session)
