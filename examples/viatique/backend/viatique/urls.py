"""The addresses of the backend. nginx sends /api/, /print/, /admin/ and /health/ here."""

from django.contrib import admin
from django.urls import include, path

from core.views import health_check
from papers.views import print_copy

urlpatterns = [
    path("health/", health_check, name="health"),
    path("api/", include("accounts.urls")),
    path("api/", include("papers.urls")),
    path("print/<int:copy_id>/", print_copy, name="print-copy"),
    path("admin/", admin.site.urls),
]
