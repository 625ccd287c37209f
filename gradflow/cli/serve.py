"""`gradflow serve`."""

from gradflow.cli.extras import require_extra
from gradflow.cli.options import DEFAULT_HOST, DEFAULT_PORT, Host, Insecure, Port
from gradflow.cli.output import failure


def serve(host: Host = DEFAULT_HOST, port: Port = DEFAULT_PORT, insecure: Insecure = False) -> None:
    """Run only the API; GRADFLOW_REDIS_URL is the address of Redis."""
    require_extra("server")
    from service.api.serving import Unprotected
    from service.api.serving import serve as serve_api
    from service.contract.errors import StoreUnavailable

    try:
        serve_api(host, port, insecure)
    except Unprotected as error:
        raise failure(str(error)) from error
    except StoreUnavailable as error:
        raise failure(f"{error}; the API reads its keys from Redis before it starts") from error
