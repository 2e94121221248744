"""Stage `shards`: turns tracked clips into encoded samples."""
