"""Settings: which layer wins, what is refused and how it is said, what is never shown."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from hypernode_worker.config import Flag, Loaded, Settings, load, masked_url, shown
from hypernode_worker.config.example import env_example
from hypernode_worker.errors import ConfigError

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:  # pyright: ignore[reportUnusedFunction]
    """A user without any files, working in an empty folder."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def from_env(**environ: str) -> Loaded:
    return load(environ=environ)


def write_config(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config/hypernode-worker/config.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_seed_defaults() -> None:
    settings = from_env().settings
    assert settings.solana_rpc_url == ("https://api.devnet.solana.com",)
    assert settings.program_id == "HYPERMarket11111111111111111111111111111111"
    assert settings.ipfs_gateway == ("https://ipfs.io",)
    assert settings.ipfs_upload_url == "https://api.pinata.cloud/pinning/pinJSONToIPFS"
    assert (settings.polling_interval, settings.health_check_interval) == (10_000, 60_000)
    assert settings.auto_accept
    assert settings.container_runtime == "docker"
    assert settings.keypair_path == Path.home() / ".config/solana/id.json"
    assert settings.data_dir == Path.home() / ".local/share/hypernode-worker"
    assert settings.ipfs_store_dir == settings.data_dir / "ipfs"


def test_a_stronger_layer_wins_and_is_named(tmp_path: Path) -> None:
    config = write_config(
        tmp_path, 'capacity = 2\npolling_interval = 2000\nCOMMITMENT = "finalized"\nlog_level="debug"\n'
    )
    env_file = tmp_path / ".env"
    env_file.write_text("CAPACITY=3\nPOLLING_INTERVAL=3000\nCOMMITMENT=processed\n")
    flags = {"capacity": Flag("--set", "5")}
    loaded = load(flags=flags, environ={"CAPACITY": "4", "POLLING_INTERVAL": "4000"})
    values = (loaded.settings.capacity, loaded.settings.polling_interval, loaded.settings.commitment)
    assert values == (5, 4000, "processed")
    assert loaded.settings.log_level == "debug"
    assert loaded.origin("capacity") == "flag --set"
    assert loaded.origin("polling_interval") == "environment"
    assert loaded.origin("commitment") == str(env_file)
    assert loaded.origin("log_level") == str(config)
    assert loaded.origin("data_dir") == "default"


def test_dotenv_rules_hold(tmp_path: Path) -> None:
    (tmp_path / "other.env").write_text(
        "export CAPACITY='2' # two\nDATA_DIR=\"${HOME}/data\"\n\n# a remark\nMARKET_PUBKEY=\n"
    )
    settings = load(environ={}, env_file=tmp_path / "other.env").settings
    assert settings.capacity == 2
    assert settings.data_dir == Path.home() / "data"
    assert settings.market_pubkey is None, "empty counts as not given"


@pytest.mark.parametrize(
    ("text", "bytes_"),
    [("512MiB", 512 << 20), ("1g", 1 << 30), ("4GB", 4 * 10**9), ("1048576", 1 << 20), ("1.5 GiB", 3 << 29)],
)
def test_sizes(text: str, bytes_: int) -> None:
    assert from_env(JOB_WORKSPACE_SIZE=text).settings.job_workspace_size == bytes_


def test_prices_may_be_typed_in_sol() -> None:
    assert from_env(MIN_PRICE="0.000001SOL").settings.min_price == 1_000
    assert from_env(MIN_PRICE="250").settings.min_price == 250


@pytest.mark.parametrize(
    ("environ", "sentence"),
    [
        (
            {"POLLING_INTERVAL": "soon"},
            "POLLING_INTERVAL can't be 'soon' (from environment): write a whole number (ms).",
        ),
        (
            {"POLLING_INTERVAL": "1"},
            "POLLING_INTERVAL can't be '1' (from environment): it must be greater than or equal",
        ),
        ({"AUTO_ACCEPT": "perhaps"}, "AUTO_ACCEPT can't be 'perhaps' (from environment): write true or false"),
        (
            {"CONTAINER_RUNTIME": "lxc"},
            "CONTAINER_RUNTIME can't be 'lxc' (from environment): it must be 'auto', 'docker'",
        ),
        (
            {"SOLANA_RPC_URL": "devnet"},
            "SOLANA_RPC_URL can't be 'devnet' (from environment): a URL here begins with http://",
        ),
        ({"SOLANA_RPC_URL": "none"}, "name at least one endpoint"),
        ({"SOLANA_WS_URL": "http://x"}, "begins with ws:// or wss://"),
        ({"MARKET_PUBKEY": "0OIl"}, "MARKET_PUBKEY can't be '0OIl' (from environment): an address is"),
        ({"MARKET_PUBKEY": "1" * 33}, "another length"),
        ({"MIN_PRICE": "0.5"}, "SOL needs its suffix"),
        ({"MIN_PRICE": "99999999999SOL"}, "more than an account can hold"),
        ({"JOB_MEMORY": "lots"}, "JOB_MEMORY can't be 'lots' (from environment): write a number of bytes"),
        ({"COUNTRY": "Wonderland"}, "COUNTRY can't be"),
        ({"ALLOW_NETWORK": "true"}, "ALLOW_NETWORK is true (from environment) but DOCKER_NETWORK is none"),
        ({"CONTAINER_RUNTIME": "mock"}, "CONTAINER_RUNTIME is mock (from environment)"),
        ({"IPFS_API_AUTH": "bearer:x"}, "IPFS_API_AUTH is set (from environment) but IPFS_API_URL is not"),
    ],
)
def test_wrong_values_are_refused_with_name_value_origin_and_rule(environ: dict[str, str], sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_env(**environ)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_misspelt_key_in_env_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("POLING_INTERVAL=5000\n")
    with pytest.raises(
        ConfigError, match=r"POLING_INTERVAL in .*/\.env is no setting; did you mean POLLING_INTERVAL\?"
    ):
        load(environ={})


def test_broken_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.env").write_text("CAPACITY=1\n'oops\n")
    with pytest.raises(ConfigError, match=r"Line 2 of .* is not NAME=value"):
        load(environ={}, env_file=tmp_path / "bad.env")
    with pytest.raises(ConfigError, match="can't be read"):
        load(environ={}, env_file=tmp_path / "missing.env")
    write_config(tmp_path, "capacity = \n")
    with pytest.raises(ConfigError, match="config file"):
        load(environ={})
    write_config(tmp_path, "capacities = 1\n")
    with pytest.raises(ConfigError, match="did you mean CAPACITY"):
        load(environ={})


def test_near_misses_in_the_environment_are_warned_about() -> None:
    loaded = from_env(
        MARKET_PUBKY="x", HYPERNODE_CAPACITY="2", HYPERNODE_FOO="1", HYPERNODE_TEST_REQUIRE="", PATH="/bin"
    )
    assert [warning.split(" is no setting")[0].split()[-1] for warning in loaded.warnings] == [
        "HYPERNODE_CAPACITY",
        "HYPERNODE_FOO",
        "MARKET_PUBKY",
    ]
    assert "did you mean CAPACITY?" in loaded.warnings[0]


def test_secrets_are_never_shown() -> None:
    loaded = from_env(IPFS_UPLOAD_TOKEN="s3cr3t-token", IPFS_API_URL="http://user:pw@h:5001")
    assert "s3cr3t" not in repr(loaded)
    assert "s3cr3t" not in str(shown(loaded.settings, "ipfs_upload_token"))
    assert shown(loaded.settings, "ipfs_api_url") == "http://****@h:5001"
    with pytest.raises(ConfigError) as caught:
        from_env(IPFS_API_AUTH="basic:me:s3cr3t")
    assert "s3cr3t" not in str(caught.value)


def test_keys_in_urls_are_masked() -> None:
    assert masked_url("https://rpc.example/v2/abcdefghij0123456789XY?api-key=1&z=2") == (
        "https://rpc.example/v2/****?api-key=****&z=****"
    )
    assert masked_url("http://127.0.0.1:8899") == "http://127.0.0.1:8899"


def test_market_is_asked_for_with_the_cure() -> None:
    with pytest.raises(ConfigError, match="--market ADDRESS or set MARKET_PUBKEY"):
        from_env().require_market()


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        from_env().settings.capacity = 3  # pyright: ignore[reportAttributeAccessIssue]


def test_env_example_is_made_from_the_settings() -> None:
    path = REPOSITORY / ".env.example"
    assert path.read_text() == env_example(), "run: python -m hypernode_worker.config.example > .env.example"
    assert not path.stat().st_mode & stat.S_IXUSR


def test_env_example_uncommented_gives_the_defaults(tmp_path: Path) -> None:
    lines = [
        line.removeprefix("#") if line.startswith("#") and line[1:2].isupper() else line
        for line in env_example().splitlines()
    ]
    (tmp_path / "all.env").write_text("\n".join(lines))
    loaded = load(environ={}, env_file=tmp_path / "all.env")
    assert loaded.settings == load(environ={}).settings
    names = {line.split("=")[0].lower() for line in lines if line[:1].isupper()}
    assert names == set(Settings.model_fields)
