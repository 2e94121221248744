"""Stage `ingest`: turns a recipe into the table of videos."""
