"""Small ways to show a secret, to send it to the wrong place, or to trust a stranger."""

from tests.mutant_lists.mutant import Mutant

ADDRESSES, KNOWN, CLIENT = "schemas/configuration/addresses.py", "schemas/secrets.py", "schemas/configuration/kafka_client.py"
SETTING, SETTINGS, TLS = "schemas/configuration/setting.py", "schemas/configuration/settings.py", "ledger/store/tls.py"
APART, CLEANED = "tests/schemas/configuration/test_addresses.py", "tests/schemas/test_secrets.py"
PROPERTIES = "tests/schemas/configuration/test_kafka_client.py"
CONFIGURED, ENCRYPTED = "tests/schemas/configuration/test_settings.py", "tests/ledger/store/test_tls.py"

MUTANTS = (
    Mutant("secret parameters shown", ADDRESSES, "value if name in SHOWN else MASK", "value", (APART,)),
    Mutant("secret token in place of a user shown", ADDRESSES, 'self.scheme.startswith("http")', "False", (APART,)),
    Mutant(
        "secret with a parameter's look read as a host",
        ADDRESSES,
        "(userinfo is not None and _LOOKS_LIKE_QUERY.search(userinfo))",
        "False",
        (APART,),
    ),
    Mutant("secret of an unclear address shown", ADDRESSES, "else MASK\n\n\ndef secrets_in", "else text\n\n\ndef secrets_in", (APART,)),
    Mutant("secret not decoded", ADDRESSES, "password=unquote(password) if colon", "password=password if colon", (APART,)),
    Mutant("secret percent-encoded not known", KNOWN, 'quote(value, safe=""),', "", (CLEANED,)),
    Mutant("secret in base64 not known", KNOWN, "b64encode(value.encode()).decode(),", "", (CLEANED,)),
    Mutant("secret lines of a key not known", KNOWN, 'if "\\n" in secret else []', "if False else []", (CLEANED,)),
    Mutant("secret half replaced", KNOWN, "key=lambda form: (-len(form), form)", "key=lambda form: (len(form), form)", (CLEANED,)),
    Mutant("secret equal to a public word replaced", KNOWN, "if secret not in public", "if True", (CLEANED,)),
    Mutant("secret in an error kept", "schemas/errors.py", "super().__init__(clean(", "super().__init__(str(", (CLEANED,)),
    Mutant("secret property shown", CLIENT, "return MASK if self.is_secret else", "return", (PROPERTIES,)),
    Mutant("secret for one cluster sent to another", SETTINGS, "rides_client=own or shared", "rides_client=(*shared, *own)", (PROPERTIES,)),
    Mutant("secret file with its line break", CLIENT, 'text = text.removesuffix("\\n")', "text = text", (PROPERTIES,)),
    Mutant("secret given twice", SETTINGS, "if setting.secret and environ.get(setting.file_variable):", "if False:", (CONFIGURED,)),
    Mutant(
        "secret file's other contents shown",
        SETTING,
        'if not re.fullmatch(self.form, text):\n            raise ConfigError(f"{self.file_variable}',
        'if False:\n            raise ConfigError(f"{self.file_variable}',
        (CONFIGURED,),
    ),
    Mutant("property that Ridecast sets taken, secret or not", CLIENT, "if row.name in OWNED:", "if False:", (PROPERTIES,)),
    Mutant(
        "secret sent to a host of another name",
        TLS,
        'context.check_hostname = mode == "verify-full"',
        "context.check_hostname = False",
        (ENCRYPTED,),
    ),
    Mutant("secret sent to an unknown server", TLS, 'if mode in ("prefer", "require") and not roots:', "if True:", (ENCRYPTED,)),
    Mutant("secret sent without encryption", TLS, 'if mode == "prefer" and answer == b"N":', 'if answer == b"N":', (ENCRYPTED,)),
)
