"""Media types of the table formats that the API reads and writes."""

CSV = "text/csv"
NPZ = "application/zip"
PARQUET = "application/vnd.apache.parquet"
