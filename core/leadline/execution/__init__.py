"""Running models elsewhere and within limits: memory budgets, exported graphs."""
