"""The financial model: from drivers to statements, by arithmetic."""
