"""What the JSON API's views share: reading a request's data, and refusing it."""

import json
from functools import wraps

from django.http import JsonResponse


class BadJson(Exception):
    """The request says that it is JSON, and is not a JSON object."""


def request_data(request):
    """The fields sent, as JSON or as an HTML form: Django forms validate both."""
    if request.content_type != "application/json":
        return request.POST
    try:
        data = json.loads(request.body)
    except ValueError as error:
        raise BadJson from error
    if not isinstance(data, dict):
        raise BadJson
    return data


def refuse(status, error, **fields):
    return JsonResponse({"error": error, **fields}, status=status)


def refuse_form(form):
    return refuse(400, "some fields are not valid", fields=form.errors.get_json_data())


def api(*methods, role=None, login=True):
    """Marks a view of the API: which methods it answers, and to whom."""

    def decorate(view):
        @wraps(view)
        def guarded(request, *args, **kwargs):
            if request.method not in methods:
                response = refuse(405, f"use {' or '.join(methods)}")
                response["Allow"] = ", ".join(methods)
                return response
            if login and not request.user.is_authenticated:
                return refuse(401, "log in first")
            if role and request.user.role != role:
                return refuse(403, f"only a {role} may do this")
            try:
                response = view(request, *args, **kwargs)
            except BadJson:
                return refuse(400, "the request's body is not a JSON object")
            response.headers.setdefault("Cache-Control", "private, no-store")
            return response

        return guarded

    return decorate
