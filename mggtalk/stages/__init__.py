"""The work on one record at a time: records in, records or rejections out; no engine is known here."""
