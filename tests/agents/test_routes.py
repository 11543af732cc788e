from __future__ import annotations

from aigenflow.agents.routes import FALLBACK, LocalServer, cast_roles
from aigenflow.core.config import AgentSettings, AgentsSettings
from aigenflow.core.models import AgentType, Backend

A = AgentType
SETTINGS = AgentsSettings()


def cast_with(*keys: AgentType, local: LocalServer | None = None) -> dict[str, str]:
    """Who plays whom when only these agents have a key."""
    ready = {SETTINGS.of(agent).api_key_env for agent in keys}

    def is_reachable(agent: AgentSettings) -> bool:
        return agent.api_key_env in ready

    cast = cast_roles(SETTINGS, is_reachable, local)
    return {agent.value: route.actor.value for agent, route in cast.routes.items()}


def test_with_all_keys_everyone_plays_themselves() -> None:
    """The four roles are the four agents."""
    assert cast_with(*A) == {agent.value: agent.value for agent in A}


def test_a_missing_key_is_covered_by_the_fallback_agent() -> None:
    """chatgpt and claude stand in for each other, gemini and perplexity likewise."""
    assert cast_with(A.CLAUDE, A.GEMINI) == {
        "claude": "claude",
        "chatgpt": "claude",
        "gemini": "gemini",
        "perplexity": "gemini",
    }


def test_one_key_is_enough_for_all_roles() -> None:
    """Without the fallback agent either, any agent that has a key plays the role."""
    assert set(cast_with(A.PERPLEXITY).values()) == {"perplexity"}


def test_without_any_key_a_local_server_comes_before_the_offline_drafter() -> None:
    """An AI on the user's own machine is better than none."""
    server = LocalServer(base_url="http://127.0.0.1:11434/v1", model="m")
    local = cast_roles(SETTINGS, lambda _: False, server)
    assert {route.backend for route in local.routes.values()} == {Backend.COMPATIBLE}
    assert {route.model for route in local.routes.values()} == {"m"}
    nothing = cast_roles(SETTINGS, lambda _: False)
    assert nothing.is_offline
    assert not nothing.is_mixed


def test_the_understudy_is_somebody_else() -> None:
    """Whoever plays a role does not stand in for themselves."""
    cast = cast_roles(SETTINGS, lambda _: True)
    for agent, route in cast.routes.items():
        understudy = cast.for_fallback(route)
        assert understudy is not None
        assert understudy.actor is FALLBACK[agent]
    alone = cast_roles(SETTINGS, lambda agent: agent.backend is Backend.OPENAI)
    assert not alone.fallbacks
