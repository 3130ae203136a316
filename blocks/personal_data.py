"""Detection of personal data with Presidio, locally: names with an English spaCy model, the rest with patterns, check digits and nearby words."""

import logging
from typing import Any

from core.errors import SettingsError
from core.imports.scrubbing import Find, Finder

MODELS = ("en_core_web_trf", "en_core_web_lg", "en_core_web_md", "en_core_web_sm")
"""spaCy's English models, the best first. Another installed model whose name begins in the same way is the last choice."""
MIN_SCORE = 0.4
"""Minimum score of a match: Presidio's score for a weak pattern next to one of its context words."""

REGIONS = ("US", "GB", "DE", "FR", "IN", "AU", "CA", "ES", "IT", "NL", "BR")
"""Countries whose telephone numbers are recognised without a country code."""

_KINDS = {
    "PERSON": "NAME", "EMAIL": "E-MAIL", "PHONE_NUMBER": "PHONE", "ADDRESS": "ADDRESS", "BIRTH": "DATE OF BIRTH", "NUMBER_ID": "ID", "US_SSN": "ID",
    "UK_NHS": "ID", "IP_ADDRESS": "ID", "CREDIT_CARD": "ACCOUNT", "IBAN_CODE": "ACCOUNT", "ACCOUNT": "ACCOUNT",
}  # fmt: skip

_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*\.?"
_ORDINAL = "(?:st|nd|rd|th)?"
_DATE = rf"\b(?:\d{{1,4}}[-/.]\d{{1,2}}[-/.]\d{{1,4}}|\d{{1,2}}{_ORDINAL}\s+(?:of\s+)?{_MONTH},?\s+\d{{4}}|{_MONTH}\s+\d{{1,2}}{_ORDINAL},?\s+\d{{4}})\b"
_WAY = r"(?:Street|St|Avenue|Ave|Road|Rd|Lane|Ln|Drive|Dr|Boulevard|Blvd|Court|Ct|Place|Pl|Square|Sq|Terrace|Close|Crescent|Way|Gardens|Mews)\b\.?"
_TOWN = r"(?:,?\s+(?:Apt|Flat|Unit|Suite|#)\.?\s*\w+)?(?:,\s*[A-Z][\w.]+(?:\s[A-Z][\w.]+)*)?(?:,?\s+[A-Z]{2})?"
_POSTCODE = r"(?:[A-Z]{1,2}\d[A-Z\d]?\s?\d[A-Z]{2}|\d{5}(?:-\d{4})?)"
_PATTERNS: dict[str, tuple[list[tuple[str, float]], list[str]]] = {
    "EMAIL": ([(r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+\b", 0.9)], []),
    "ADDRESS": (
        [
            (rf"\b\d{{1,5}}[A-Za-z]?\s+(?:[A-Z][\w'.-]*\s+){{1,3}}{_WAY}{_TOWN}(?:,?\s+{_POSTCODE})?", 0.8),
            (r"\b[A-ZÄÖÜ][\wäöüß-]*(?:straße|strasse|str\.|weg|platz|allee|gasse)\s+\d{1,4}[a-z]?(?:,\s*\d{5}\s+[A-ZÄÖÜ][\wäöüß-]+)?", 0.8),
            (r"\b[A-Z]{1,2}\d[A-Z\d]?\s\d[A-Z]{2}\b", 0.7),
        ],
        [],
    ),
    "BIRTH": ([(_DATE, 0.1)], ["born", "bear", "birth", "birthday", "birthdate", "dob", "geboren"]),
    "ACCOUNT": ([(r"\b\d{6,17}\b", 0.1), (r"\b\d{2}-\d{2}-\d{2}\b", 0.1)], ["account", "acct", "bank", "sort", "routing", "konto"]),
    "NUMBER_ID": (
        [(r"\b[A-Z]{0,3}-?\d{5,12}[A-Z]?\b", 0.1)],
        ["passport", "licence", "license", "id", "identity", "employee", "member", "policy", "patient", "insurance", "ssn", "student", "case"],
    ),
}


def load_finder() -> Finder:
    """Return a function that finds personal data in a text.

    Raises:
        SettingsError: Presidio or an English spaCy model is not installed.
    """
    try:
        import spacy.util
        from presidio_analyzer import AnalyzerEngine, Pattern, PatternRecognizer, RecognizerRegistry
        from presidio_analyzer import predefined_recognizers as known
        from presidio_analyzer.nlp_engine import NlpEngineProvider
    except ImportError as missing:
        raise SettingsError("--scrub needs Presidio, which is not installed. Install it: .venv/bin/uv pip install '.[scrub]'.") from missing
    logging.getLogger("presidio-analyzer").setLevel(logging.ERROR)
    installed = list(spacy.util.get_installed_models())
    model = next((name for name in [*MODELS, *installed] if name in installed and name.startswith("en_core_web")), None)
    if model is None:
        raise SettingsError(
            "--scrub finds names with an English spaCy model, and none is installed. Install one: .venv/bin/python -m spacy download en_core_web_lg."
        )
    nlp = NlpEngineProvider(nlp_configuration={"nlp_engine_name": "spacy", "models": [{"lang_code": "en", "model_name": model}]}).create_engine()
    own = [
        PatternRecognizer(entity, patterns=[Pattern(entity, text, score) for text, score in patterns], context=words)
        for entity, (patterns, words) in _PATTERNS.items()
    ]
    theirs: list[Any] = [
        known.SpacyRecognizer(supported_entities=["PERSON"]),
        known.PhoneRecognizer(supported_regions=REGIONS),
        known.CreditCardRecognizer(),
        known.IbanRecognizer(),
        known.UsSsnRecognizer(),
        known.NhsRecognizer(),
        known.IpRecognizer(),
    ]  # none of them uses the network, unlike Presidio's recognizers for e-mail addresses and URLs
    engine = AnalyzerEngine(RecognizerRegistry(recognizers=[*own, *theirs], supported_languages=["en"]), nlp, supported_languages=["en"])
    entities = sorted(_KINDS)

    def find(text: str) -> list[Find]:
        matches = engine.analyze(text, language="en", entities=entities, score_threshold=MIN_SCORE)
        return [Find(_KINDS[item.entity_type], item.start, item.end) for item in matches]

    return find
