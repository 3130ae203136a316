"""No secret, in any encoding, and nothing that looks like one is stored or shown."""

import base64
import html
import json
import logging
import pickle
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from core.errors import HubError, RateLimitError
from core.redaction import REDACTED, guard_output, learn, redact, redact_known, without_secrets

FORMS = {
    "as it is": lambda key: key,
    "URL": lambda key: quote(key, safe=""),
    "form": quote_plus,
    "every character in URL encoding": lambda key: "".join(f"%{byte:02x}" for byte in key.encode()),
    "URL, twice": lambda key: quote(quote(key, safe=""), safe=""),
    "base64": lambda key: base64.b64encode(key.encode()).decode(),
    "base64 for addresses": lambda key: base64.urlsafe_b64encode(key.encode()).decode(),
    "a user's name before it in base64": lambda key: base64.b64encode(b"u:" + key.encode() + b"!").decode(),
    "base64 in URL encoding": lambda key: quote(base64.b64encode(b"x" + key.encode()).decode(), safe=""),
    "base64 in lines": lambda key: base64.encodebytes(b"abc" * 18 + key.encode() + b"d" * 60).decode(),
    "hexadecimal": lambda key: key.encode().hex(),
    "JSON": json.dumps,
    "JSON in JSON": lambda key: json.dumps(json.dumps({"x": key})),
    "escaped characters": lambda key: "".join(f"\\u{ord(letter):04X}" for letter in key),
    "HTML": html.escape,
    "Python": lambda key: repr(key.encode()),
}
KEYS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=16, max_size=60)


def holds(text: str, key: str) -> bool:
    """Say whether a text contains half of a key."""
    cores = [base64.b64encode(b"\0" * shift + key.encode()).decode()[4:-4] for shift in range(3)]
    return any(part in text for part in (key[: len(key) // 2 + 1], key[-(len(key) // 2) - 1 :], key.encode().hex(), *(core for core in cores if len(core) > 8)))


@example("0000000000000%00", "escaped characters")
@given(KEYS, st.sampled_from(sorted(FORMS)))
@example("0000000<0000%00<", "HTML")
@example("0000000%00000%00", "escaped characters")
@example("0000000&lt;000%00", "URL")
def test_a_known_secret_is_removed_in_every_encoding(key, form):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_API_KEY", key)
        said = redact_known(f"Unauthorized: {FORMS[form](key)} was sent")
        assert REDACTED in said
        assert not holds(said, key)


@given(KEYS, st.integers(9, 15))
def test_a_truncated_secret_is_removed(key, kept):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_TOKEN", f"a{key}")
        length = max(kept, (len(key) + 1) // 2 + 1)
        for part in (f"a{key}"[:length], f"a{key}"[-length:]):
            assert part not in redact_known(f"said: {part}")


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("sk-ant-api03-abcdefgh12345", "abcdefgh"),
        ("hf_abcdefghijklmnop", "abcdefgh"),
        ("gsk_abcdefghijklmnop", "abcdefgh"),
        ("xai-abcdefghijklmnop", "abcdefgh"),
        ("ghp_abcdefghijklmnop1234", "abcdefgh"),
        ("github_pat_11ABCDEFG0abcdefg", "11ABC"),
        ("AKIAIOSFODNN7EXAMPLE", "IOSFODNN"),
        ("nvapi-abcdefghijklmnop", "abcdefgh"),
        ("AIzaSyA1234567890123456789012", "1234567890"),
        ("Authorization: Bearer abcdefghijkl", "abcdefgh"),
        ("{'authorization': 'Basic dXNlcjpwYXNzd29yZA=='}", "dXNlcjpw"),
        ("https://user:secret99@proxy.example:8080/v1", "secret99"),
        ("x-api-key: 0123456789abcdef", "01234567"),
        ("[(b'x-api-key', b'0123456789abcdef')]", "01234567"),
        ('{\\"api_key\\":\\"0123456789abcdef\\"}', "01234567"),
        ("https://host/v1?api_key=0123456789abcdef&x=1", "01234567"),
        ("password=correct-horse", "correct"),
    ],
)
def test_text_that_looks_like_a_key_is_removed(text, secret):
    assert REDACTED in redact(text)
    assert secret not in redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "anthropic/claude-sonnet-5-5 answered 429: rate limit of 400000 tokens per minute; maximum context 200000.",
        "Set HF_TOKEN to a token with write access, or leave out --push-to.",
        "A basic understanding of tokens: 2048 at most; the token is wrong, expired or revoked.",
        "https://huggingface.co/datasets/somebody/understudy-therapeutic-coaching/tree/0123456789abcdef",
        "llama-cpp/models/sk-base.gguf",
    ],
)
def test_ordinary_text_is_unchanged(text):
    assert redact(text) == text


def test_secrets_in_the_machines_files_and_saved_blocks_are_removed(tmp_path, monkeypatch):
    (tmp_path / "token").write_text("unusual-token-of-a-login", encoding="utf-8")
    (tmp_path / "stored").write_text("[mine]\nhf_token = unusual-token-of-another\n", encoding="utf-8")
    (tmp_path / "aws").write_text("[default]\naws_access_key_id = unusualid\naws_secret_access_key = unusual/secret+of/aws\n", encoding="utf-8")
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setenv("HF_STORED_TOKENS_PATH", str(tmp_path / "stored"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "aws"))
    monkeypatch.setenv("HTTPS_PROXY", "http://somebody:proxy%2Dpassword@proxy:3128")
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "understudy:password-of-the-server")
    learn("unusual-key-of-a-block")
    for secret in (
        "token-of-a-login",
        "token-of-another",
        "unusual/secret+of/aws",
        "proxy-password",
        "proxy%2Dpassword",
        "password-of-the-server",
        "key-of-a-block",
    ):
        assert secret not in redact_known(f"403: unusual-{secret} {secret}" if "unusual" not in secret else f"403: {secret}"), secret


def test_a_stored_error_contains_no_secret(monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "value-without-any-shape")
    for error in (HubError("It said value-without-any-shape."), RateLimitError("It said value-without-any-shape.", 3.0)):
        assert "without-any" not in f"{error} {error!r} {error.args}"
        assert b"without-any" not in pickle.dumps(error)
        assert str(pickle.loads(pickle.dumps(error))) == "It said [redacted]."


class SdkError(OSError):
    """An error that contains the request, as those of SDKs do."""

    def __init__(self, message, request=None):
        super().__init__(message)
        self.request = request


class Number(BaseModel):
    number: int


def refusal():
    with pytest.raises(ValidationError) as caught:
        Number.model_validate({"number": "value-without-any-shape"})
    return caught.value


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ValueError("It said value-without-any-shape."), ValueError),
        (FileNotFoundError(2, "No such file", "/value-without-any-shape"), FileNotFoundError),
        (KeyError({"authorization": "Bearer value-without-any-shape"}), KeyError),
        (SdkError("401", {"authorization": "Bearer value-without-any-shape"}), OSError),
        (SdkError("401", lambda: "what cannot be pickled"), OSError),
        (UnicodeDecodeError("utf-8", b"value-without-any-shape", 0, 1, "invalid"), RuntimeError),
        (ExceptionGroup("Two", [ValueError("value-without-any-shape"), ValueError("another")]), RuntimeError),
        (refusal(), ValueError),
    ],
    ids=lambda value: value.__class__.__name__ if isinstance(value, Exception) else "",
)
def test_an_error_of_a_library_is_stored_without_its_secrets(error, kind, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "value-without-any-shape")
    safe = without_secrets(error)
    assert type(safe) is kind
    assert type(error).__name__ in str(safe)
    assert "without-any" not in f"{safe!r}"
    assert b"without-any" not in pickle.dumps(safe)


@pytest.mark.parametrize(
    "error", [ValueError("Ten of it."), HubError("It said no."), OSError(28, "No space left", "/data/x"), ExceptionGroup("a", [ValueError()])]
)
def test_an_error_without_secrets_is_unchanged(error):
    assert without_secrets(error) is error


def test_a_log_contains_no_secret_in_message_arguments_or_traceback(monkeypatch, caplog):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "value-without-any-shape")
    before = logging.getLogRecordFactory()
    try:
        guard_output()
        log = logging.getLogger("anybody")
        log.warning("value-without-any-shape")
        log.warning("It said %s of %d.", "value-without-any-shape", 3)
        try:
            raise ValueError("value-without-any-shape")
        except ValueError:
            log.exception("Failed.")
        log.warning("Nothing %s.", "secret")
    finally:
        logging.setLogRecordFactory(before)
    assert "without-any" not in caplog.text
    assert all(REDACTED in record.getMessage() for record in caplog.records[:2])
    assert "Failed. Traceback" in " ".join(caplog.text.split())
    assert caplog.records[-1].args == ("secret",)


@pytest.mark.parametrize(
    "name", ["MY_SECRET", "DB_PASSWORD", "PGPASSWORD", "SERVICE_PASS", "GH_PAT", "OPENAI_KEY_2", "OPENAI_API_KEY_PROD", "TOKEN_HF", "MY_CREDS"]
)
def test_a_variable_is_a_secret_if_its_name_contains_a_secret_word(name, monkeypatch):
    monkeypatch.setenv(name, "pa.ss*wo(rd[9")
    assert redact_known("refused: pa.ss*wo(rd[9") == f"refused: {REDACTED}"


@pytest.mark.parametrize("name", ["OLDPWD", "HF_TOKEN_PATH", "TOKENIZERS_PARALLELISM", "MONKEY", "AWS_SHARED_CREDENTIALS_FILE"])
def test_other_variables_are_not_secrets(name, monkeypatch):
    monkeypatch.setenv(name, "ordinary-words")
    assert redact_known("ordinary-words") == "ordinary-words"


PRIVATE = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\nBKcwggSjAgEAAoIBAQC7abcdefghijkl\n-----END PRIVATE KEY-----\n"


@pytest.mark.parametrize("said", [PRIVATE, repr(PRIVATE), json.dumps({"key": PRIVATE}), PRIVATE.splitlines()[2], base64.b64encode(PRIVATE.encode()).decode()])
def test_a_multi_line_secret_is_removed_whole_and_by_line(said, monkeypatch):
    monkeypatch.setenv("SIGNING_KEY", PRIVATE)
    clean = redact_known(f"refused: {said}")
    assert REDACTED in clean
    assert not any(line in clean for line in PRIVATE.split("\n")[1:3])


def test_text_that_looks_like_a_private_key_is_removed_even_if_truncated():
    assert redact(f"x {PRIVATE[:70]}") == f"x {REDACTED}"


@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.parametrize("part", ["\\", "api_key=", "token: ", "://", "a:", "eyJabcdefghij-", "bearer ", "basic a", "'\"", "&amp;", "%25"])
def test_redaction_time_is_proportional_to_the_length_of_the_text(monkeypatch, part):
    """A search in quadratic time can take minutes; the limit ends it."""
    monkeypatch.setenv("OPENAI_API_KEY", "ab\\cdefghij123456")
    repeated = part * (400_000 // len(part) // 3)
    text = " ".join(begin + repeated for begin in ("https://", "secret", "token="))
    assert redact(f"{text} sk-abcdefgh12345").endswith(REDACTED)


def test_a_password_without_a_user_in_an_address_is_removed():
    assert redact("redis://:secret99@host") == f"redis://{REDACTED}@host"


def test_a_key_in_the_query_of_an_address_is_removed():
    assert redact("GET https://host/v1?key=abcdefgh12345678&alt=json") == f"GET https://host/v1?key={REDACTED}&alt=json"
