"""The proof of the statistics: nine gates, seeded, each with its figure, its goal and whether it is met."""
