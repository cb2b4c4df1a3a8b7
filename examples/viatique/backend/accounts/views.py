"""Logging in and out, for the single page application."""

from django.contrib.auth import login, logout
from django.contrib.auth.forms import AuthenticationForm
from django.http import JsonResponse
from django.middleware.csrf import get_token

from core.requests import api, refuse, request_data


def session_json(request):
    """Who is logged in, and the CSRF token for the next POST.

    Reading the token also sets its cookie; it changes on every login.
    """
    user = request.user
    described = None
    if user.is_authenticated:
        described = {"username": user.username, "name": user.display_name, "role": user.role}
    return JsonResponse({"user": described, "csrf_token": get_token(request)})


@api("GET", login=False)
def session(request):
    return session_json(request)


@api("POST", login=False)
def log_in(request):
    form = AuthenticationForm(request, data=request_data(request))
    if not form.is_valid():
        return refuse(400, "wrong name or password")
    login(request, form.get_user())
    return session_json(request)


@api("POST")
def log_out(request):
    logout(request)
    return session_json(request)
