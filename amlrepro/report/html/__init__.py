"""The whole report as one self-contained page: tables, figures, runs. jinja2 is imported when a page is written."""
