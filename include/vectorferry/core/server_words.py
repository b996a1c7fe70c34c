"""Server words: what only the text of a server or a resolver tells, where no code does."""

# libpq hands on what PostgreSQL says to a login, without its SQLSTATE.
_LOGIN_REFUSED = ("authentication failed", "pg_hba.conf", "no password supplied", "is not permitted to log in")
_NO_DATABASE = ("does not exist",)
# EAI_NONAME of getaddrinfo on Linux and on macOS, and gRPC's word for it. EAI_AGAIN, which may pass, reads otherwise.
_NO_HOST = ("name or service not known", "nodename nor servname", "no address associated", "domain name not found")


def login_refused(text: str) -> bool:
    """Whether PostgreSQL refused a login."""
    return any(words in text for words in _LOGIN_REFUSED)


def database_missing(text: str) -> bool:
    """Whether PostgreSQL has no database (or role) of that name; of a failed login only."""
    return any(words in text for words in _NO_DATABASE)


def host_unknown(text: str) -> bool:
    """Whether a host's name is not known: to try again helps only where the name is about to be made known."""
    return any(words in text.lower() for words in _NO_HOST)
