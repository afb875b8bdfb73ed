"""GET /mcp/tools and POST /mcp/call: the administrator's MCP servers, for the page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeinfer.errors import SettingsError
from edgeinfer.server.auth.keys import Key, digest
from tests.support.mcp_servers import SHOP, config_file, shop_over_http
from tests.support.server import Scripted, application, error, serving


@pytest.fixture(scope="module")
def shop() -> Iterator[str]:
    with shop_over_http() as url:
        yield url


def test_without_the_setting_there_are_no_tools() -> None:
    with serving(Scripted()) as served:
        assert served.client.get("/mcp/tools").json() == {"servers": []}
        refused = served.client.post("/mcp/call", json={"name": "shop_price", "arguments": {}})
        assert (refused.status_code, error(refused)["code"]) == (404, "not_found")


def test_tools_of_the_named_servers_are_listed_and_called(shop: str, tmp_path: Path) -> None:
    """A server that cannot be reached says so, and keeps none of the others from being used."""
    file = config_file(tmp_path / "mcp.json", shop={"url": shop}, gone={"url": "http://127.0.0.1:1/mcp"})
    with serving(Scripted(), mcp_servers=str(file)) as served:
        listed, gone = served.client.get("/mcp/tools").json()["servers"]
        assert (listed["name"], listed["problem"], listed["left_out"]) == ("shop", None, [])
        assert "shop_price" in [tool["function"]["name"] for tool in listed["tools"]]
        assert gone["problem"].startswith("MCP server gone: ")
        call = {"name": "shop_price", "arguments": {"item": "nails", "count": 2}}
        answer = served.client.post("/mcp/call", json=call)
        assert answer.json() == {"text": "2 nails cost 6 EUR", "is_error": False}
        harmless = served.client.post("/mcp/call", json={"name": "shop_escape"}).json()
        assert harmless["text"].startswith(r"\x1b[2J")
        wrong = served.client.post("/mcp/call", json={"name": "shop_price", "arguments": {"item": 5}}).json()
        assert wrong["is_error"]
        missing = served.client.post("/mcp/call", json={"name": "gone_price"})
        assert (missing.status_code, error(missing)["param"]) == (404, "name")


def test_where_keys_are_required_only_an_admin_key_may_call_tools(shop: str, tmp_path: Path) -> None:
    file = config_file(tmp_path / "mcp.json", shop={"url": shop})
    keys = tmp_path / "keys"
    keys.write_text(
        "".join(
            Key(name, digest(name.encode()), admin=name == "root").line() + "\n" for name in ("guest", "root")
        )
    )
    call = {"name": "shop_price", "arguments": {"item": "nails", "count": 2}}
    with serving(Scripted(), mcp_servers=str(file), api_key_file=str(keys)) as served:
        assert served.client.post("/mcp/call", json=call).status_code == 401
        assert served.client.get("/mcp/tools").status_code == 401
        guest, root = ({"Authorization": f"Bearer {name}"} for name in ("guest", "root"))
        assert served.client.get("/mcp/tools", headers=guest).json() == {"servers": []}
        refused = served.client.post("/mcp/call", json=call, headers=guest)
        assert (refused.status_code, error(refused)["code"]) == (403, "forbidden")
        assert served.client.get("/mcp/tools", headers=root).json()["servers"][0]["tools"]
        assert served.client.post("/mcp/call", json=call, headers=root).json()["text"] == "2 nails cost 6 EUR"


def test_a_page_from_elsewhere_calls_no_tool_even_if_it_may_ask_models(shop: str, tmp_path: Path) -> None:
    """It would not ask the user."""
    file = config_file(tmp_path / "mcp.json", shop={"url": shop})
    with serving(Scripted(), mcp_servers=str(file), cors_origins="https://app.example") as served:
        foreign, own = {"Origin": "https://app.example"}, {"Origin": served.url}
        call = {"name": "shop_price", "arguments": {"item": "nails", "count": 2}}
        assert served.client.get("/v1/models", headers=foreign).status_code == 200
        assert served.client.get("/mcp/tools", headers=foreign).json() == {"servers": []}
        assert served.client.post("/mcp/call", json=call, headers=foreign).status_code == 403
        assert served.client.post("/mcp/call", json=call, headers=own).status_code == 200


def test_the_daemon_starts_no_program(tmp_path: Path) -> None:
    file = config_file(tmp_path / "mcp.json", shop=SHOP)
    with pytest.raises(
        SettingsError, match="shop has a command, and the daemon starts no programs"
    ) as caught:
        application(Scripted(), mcp_servers=str(file))
    assert caught.value.param == "mcp_servers"
    with pytest.raises(SettingsError, match=r"mcp_servers: .*none\.json: No such file"):
        application(Scripted(), mcp_servers=str(tmp_path / "none.json"))
