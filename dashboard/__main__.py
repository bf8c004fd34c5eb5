"""`python -m dashboard`: serve the pages until SIGINT or SIGTERM."""

from backend.settings import from_environment
from dashboard.server.app import serve

if __name__ == "__main__":
    serve(from_environment())
