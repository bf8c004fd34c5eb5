"""`python -m dashboard`: serve the pages until SIGINT or SIGTERM."""

from backend.settings import Settings
from dashboard.server import serve

if __name__ == "__main__":
    serve(Settings())
