"""An answer that is given outside the layers: its problem, with the headers that every answer has."""

import uuid

from aiohttp import web

from libs.http._access_log import SERVER
from libs.http._keys import REQUEST_ID
from libs.http._problem import Problem, problem_response


def outside_response(problem: Problem, request: web.BaseRequest) -> web.Response:
    """`problem` for `request`, which may never have reached the first layer."""
    request_id = request.get(REQUEST_ID) or uuid.uuid4().hex
    response = problem_response(problem, path=request.rel_url.raw_path, request_id=request_id)
    response.headers["X-Request-Id"] = request_id
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Server"] = SERVER
    return response
