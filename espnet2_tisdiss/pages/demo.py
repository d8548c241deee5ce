"""The listening page, built with Gradio, and its server."""

import importlib.util
import os
import socket
import tempfile
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.pages.html import paragraph, picture
from espnet2_tisdiss.pages.listening import Separation, curve, mixer, separate, spectrograms
from espnet2_tisdiss.pretrained.bundled import example

if TYPE_CHECKING:
    from fastapi import FastAPI

    from espnet2_tisdiss.separate.speech import SeparateSpeech

HERE = Path(__file__).parent
EXAMPLE = "two synthesised voices"
NO_COMPARISON = 0
KEPT_SECONDS = 600  # lifetime of uploads and results in seconds
# only scripts of the page itself; others would come from other servers
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "media-src 'self' data: blob:; connect-src 'self' data: blob:; worker-src 'self' blob:"
)

Shown = tuple[str, str, str]  # mixer, spectrograms and curve, as HTML


def show(found: Separation | None, n_re: int, other: int) -> Shown:
    """Return the page's content for a separation, at one depth or two."""
    if found is None:
        return "", "", ""
    depths = [n_re] if other == NO_COMPARISON else [n_re, other]
    words = "spectrograms of the mixture and the voices"
    return (
        mixer(found, depths),
        picture(spectrograms(found, depths), words),
        picture(curve(found), "curve by the number of repetitions"),
    )


def run(
    model: "SeparateSpeech", path: str | None, choice: str | None, rtf: float, most_seconds: float
) -> tuple[Separation | None, str]:
    """Separate the user's recording; return the result and a message."""
    if path is None and choice is None:
        return None, paragraph("Drop, record or choose a mixture first.")
    try:
        if path is None:
            (file,) = (example() / "mix").iterdir()
            sources = [example() / f"s{number}" / file.name for number in (1, 2)]
        else:
            file, sources = Path(path), []
        known = sources if len(sources) == model.num_spk else []
        found = separate(model, file, most_seconds, rtf or None, known)
    except TisdissError as error:
        return None, paragraph(str(error).replace(str(path), Path(path or "").name))
    length = len(found.mixture) / found.rate
    return found, paragraph(
        f"{length:.1f} s at {found.rate} Hz, all depths in {found.seconds:.1f} s."
    )


def build(model: "SeparateSpeech", most_seconds: float) -> Any:
    """Return the page, a ``gradio.Blocks``.

    Raises:
        TisdissError: Gradio is not installed.
    """
    gr = import_gradio()
    with gr.Blocks(
        title="TISDiSS", analytics_enabled=False, delete_cache=(60, KEPT_SECONDS)
    ) as blocks:
        gr.Markdown(
            "# Separate two voices\nDrop or record a mixture, or choose the example. All runs "
            f"on this machine; files are removed after {KEPT_SECONDS // 60} minutes."
        )
        state = gr.State(time_to_live=KEPT_SECONDS)
        with gr.Row():
            with gr.Column():
                mixture, button, message = _inputs(gr, most_seconds)
            with gr.Column():
                depths = _depths(gr, model)
                player = gr.HTML(elem_id="player", js_on_load=(HERE / "mixer.js").read_text())
        outputs = [player, gr.HTML(elem_id="spectrograms"), gr.HTML(elem_id="curve")]

        def on_separate(
            path: str | None, choice: str | None, budget: float | None, chosen: int, against: int
        ) -> tuple[Any, ...]:
            found, words = run(model, path, choice, budget or 0, most_seconds)
            n_re = found.suggested if found and budget else chosen
            return found, words, n_re, *show(found, int(n_re), int(against))

        def on_depth(found: Separation | None, chosen: int, against: int) -> Shown:
            return show(found, int(chosen), int(against))

        shown = [state, message, depths[0], *outputs]
        button.click(on_separate, [*mixture, *depths], shown, api_visibility="private")
        for slider in depths:
            slider.input(
                on_depth,
                [state, *depths],
                outputs,
                trigger_mode="always_last",
                api_visibility="private",
            )
    return blocks


def _inputs(gr: Any, most_seconds: float) -> tuple[list[Any], Any, Any]:
    """Add the inputs: a recording, an example and a time budget, with a button and a message."""
    audio = gr.Audio(
        sources=["upload", "microphone"],
        type="filepath",
        label=f"mixture, at most {most_seconds:g} s",
        elem_id="mixture",
    )
    pick = gr.Dropdown(
        [EXAMPLE], value=None, label="or pick", elem_id="pick", allow_custom_value=False
    )
    rtf = gr.Number(
        0,
        minimum=0,
        label="time budget: seconds of work per second of audio (0: depth as trained)",
        elem_id="budget",
    )
    button = gr.Button("Separate", variant="primary", elem_id="separate")
    return [audio, pick, rtf], button, gr.HTML(elem_id="message")


def _depths(gr: Any, model: "SeparateSpeech") -> list[Any]:
    """Add the sliders of the depth and of the one to compare it with."""
    deepest = model.separator.config.deepest_useful
    depth = gr.Slider(
        1,
        deepest,
        model.resolve_depth(),
        step=1,
        label="depth: repetitions N_re",
        elem_id="depth",
    )
    other = gr.Slider(
        NO_COMPARISON,
        deepest,
        NO_COMPARISON,
        step=1,
        label="compare with N_re (0: nothing)",
        elem_id="other",
    )
    return [depth, other]


def require_gradio() -> None:
    """Check that Gradio is installed, without importing it.

    Raises:
        TisdissError: it is not.
    """
    if importlib.util.find_spec("gradio") is None:
        raise TisdissError("the page needs Gradio: pip install 'espnet2_tisdiss[demo]'")


def import_gradio() -> Any:
    """Return the module gradio, configured to contact no other server.

    It reads the folder of its uploads when it is imported, so :func:`serve` sets one before.

    Raises:
        TisdissError: it is not installed.
    """
    require_gradio()
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    import gradio

    return gradio


def is_loopback(host: str) -> bool:
    """Whether an address can be reached only from this machine."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def application(model: "SeparateSpeech", most_seconds: float, most_mb: int, host: str) -> "FastAPI":
    """Return the page as a web application.

    Args:
        model: the model.
        most_seconds: longest recording.
        most_mb: largest upload in MB.
        host: address that it will be served at.

    Raises:
        TisdissError: Gradio is not installed.
    """
    gr = import_gradio()
    from fastapi import FastAPI
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    if is_loopback(host):  # so that another site's page cannot reach it by a name that leads here
        allowed = ["localhost", "127.0.0.1", "[::1]", host]
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=allowed)

    @app.middleware("http")
    async def add_policy(request: Any, call_next: Callable[[Any], Any]) -> Any:
        response = await call_next(request)
        response.headers["Content-Security-Policy"] = POLICY
        response.headers["Cache-Control"] = "no-store"
        return response

    local = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"])
    return gr.mount_gradio_app(
        app,
        build(model, most_seconds),
        path="/",
        max_file_size=f"{most_mb}mb",
        theme=local,
        css=(HERE / "mixer.css").read_text(),
        show_error=True,
        ssr_mode=False,
    )


def serve(
    model: "SeparateSpeech",
    host: str,
    port: int,
    most_seconds: float,
    most_mb: int,
    on_start: Callable[[str], None],
) -> None:
    """Serve the page until interrupted; uploads are removed at the end.

    Args:
        model: the model.
        host: address to listen at.
        port: port; 0: any that is free.
        most_seconds: longest recording.
        most_mb: largest upload in MB.
        on_start: called with the page's address.

    Raises:
        TisdissError: Gradio is not installed, or the port is taken.
    """
    with tempfile.TemporaryDirectory(prefix="tisdiss-demo-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        app = application(model, most_seconds, most_mb, host)
        import uvicorn

        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            listening = socket.create_server((host, port), family=family)
        except OSError as error:
            raise TisdissError(
                f"--host {host} --port {port}: cannot listen there ({error.strerror}); give "
                "another --port"
            ) from None
        with listening:
            name = f"[{host}]" if ":" in host else host
            on_start(f"http://{name}:{listening.getsockname()[1]}/")
            config = uvicorn.Config(app, log_level="warning", access_log=False)
            uvicorn.Server(config).run(sockets=[listening])
