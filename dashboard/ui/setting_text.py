"""A run's settings as text; the functions are the backend's, which names runs by them, too."""

from backend.schemas.setting_text import TIMES, flatten, run_settings, setting_name, short_name, value_text

__all__ = ["TIMES", "flatten", "run_settings", "setting_name", "short_name", "value_text"]
