"""Business plans and R&D proposals written by four AI agents, at the lowest honest cost."""
