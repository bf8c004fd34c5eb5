"""The ASGI application around Streamlit: proxy to the backend, static files, same-origin rules."""
