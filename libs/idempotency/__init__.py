"""Creating requests that may be sent again: one effect and one answer for one `Idempotency-Key`."""

from libs.idempotency._dynamodb import DynamoDBIdempotencyStore
from libs.idempotency._errors import IdempotencyInProgressError, IdempotencyKeyReusedError
from libs.idempotency._http import answer_once, idempotency_key
from libs.idempotency._key import MAX_KEY_CHARACTERS, fingerprint, parse_key
from libs.idempotency._once import LEASE, LIFE, Idempotency, KeyedRequest, Reservation
from libs.idempotency._store import MAX_ANSWER_BYTES, Answer, IdempotencyStore, Record

__all__ = [
    "LEASE",
    "LIFE",
    "MAX_ANSWER_BYTES",
    "MAX_KEY_CHARACTERS",
    "Answer",
    "DynamoDBIdempotencyStore",
    "Idempotency",
    "IdempotencyInProgressError",
    "IdempotencyKeyReusedError",
    "IdempotencyStore",
    "KeyedRequest",
    "Record",
    "Reservation",
    "answer_once",
    "fingerprint",
    "idempotency_key",
    "parse_key",
]
