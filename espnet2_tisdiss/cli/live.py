"""``tisdiss live``: separate sound as it arrives."""

import contextlib
import queue
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from espnet2_tisdiss.choices import RATES
from espnet2_tisdiss.cli.backends import BackendOption, ModelSource
from espnet2_tisdiss.cli.common_options import (
    DebugOption,
    DeviceOption,
    DtypeOption,
    ModelOption,
    ThreadsOption,
)
from espnet2_tisdiss.cli.console import messages, require_folder
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.pretrained.bundled import DEFAULT_MODEL
from espnet2_tisdiss.standard_streams import read_piece, standard_input

if TYPE_CHECKING:  # importing PyTorch takes seconds
    import numpy as np

    from espnet2_tisdiss.separate.live import LiveSeparator

EXAMPLES = """
[bold]Examples[/bold]

tisdiss live --microphone -o meeting

arecord -q -t raw -f S16_LE -r 16000 | tisdiss live --rate 16000 -o meeting

cat talk.raw | tisdiss live --rate 16000 -o - | aplay -t raw -f S16_LE -r 16000 -c 2
"""

STANDARD_OUTPUT = Path("-")
FULL_SCALE = 2**15

SampleFormat = Literal["s16", "f32"]
# as numpy names them
SAMPLES: dict[SampleFormat, str] = {"s16": "<i2", "f32": "<f4"}
Sink = Callable[["np.ndarray"], None]

RateOption = Annotated[
    int, typer.Option(min=RATES[0], max=RATES[-1], help="Sample rate of the sound in Hz.")
]
SampleFormatOption = Annotated[
    SampleFormat,
    typer.Option(help="Samples of standard input and output: 16-bit integers or floats."),
]
MicrophoneOption = Annotated[
    bool, typer.Option("--microphone", help="Read the microphone, not standard input.")
]
LatencyOption = Annotated[
    float | None,
    typer.Option(
        help="Longest wait in seconds, not counting the computing time.", show_default="0.5"
    ),
]
WindowOption = Annotated[
    float | None, typer.Option(help="Seconds of sound to separate at a time.", show_default="2")
]
NReOption = Annotated[
    int | None, typer.Option(min=1, help="The most repetitions.", show_default="as trained")
]
KeepUpOption = Annotated[
    bool,
    typer.Option(
        "--keep-up/--no-keep-up",
        help="Use fewer repetitions while the machine is too slow.",
    ),
]
OutOption = Annotated[
    Path,
    typer.Option("--out", "-o", help="Folder for spk1.wav and spk2.wav; - is standard output."),
]


def command(
    rate: RateOption = 16000,
    sample_format: SampleFormatOption = "s16",
    microphone: MicrophoneOption = False,
    latency: LatencyOption = None,
    window: WindowOption = None,
    n_re: NReOption = None,
    keep_up: KeepUpOption = True,
    out: OutOption = Path("live"),
    model_name: ModelOption = DEFAULT_MODEL,
    backend: BackendOption = None,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    threads: ThreadsOption = None,
    debug: DebugOption = False,
) -> None:
    """Separate the microphone or standard input while the sound arrives.

    Standard input and output are raw samples without a header: one channel in, and out one for each
    speaker. Ctrl-C ends the input; the sound so far is separated and written.
    """
    if out != STANDARD_OUTPUT:
        require_folder(out)
    source = ModelSource.chosen(backend, model_name, device, dtype, threads=threads)
    model = source.load_for_command()
    given = {"latency": latency, "window": window}
    options = {name: value for name, value in given.items() if value is not None}
    live = model.live(rate, n_re=n_re, keep_up=keep_up, **options)
    blocks = _microphone(rate) if microphone else _standard_input(sample_format)
    with _sink(out, rate, model.num_spk, sample_format) as write:
        with contextlib.closing(blocks), contextlib.suppress(KeyboardInterrupt):
            for block in blocks:
                write(live.push(block))
        write(live.finish())
    _report(live)


def _standard_input(sample_format: SampleFormat) -> Generator["np.ndarray", None, None]:
    """Yield the samples that have arrived on standard input, as floats (n,)."""
    import numpy as np

    stream = standard_input("pipe raw samples into it, or give --microphone")
    held, samples = b"", np.dtype(SAMPLES[sample_format])
    while piece := read_piece(stream, "standard input"):
        held += piece
        whole = len(held) // samples.itemsize * samples.itemsize
        block, held = np.frombuffer(held[:whole], samples), held[whole:]
        yield block / np.float32(FULL_SCALE) if samples.kind == "i" else block


def _microphone(rate: int) -> Generator["np.ndarray", None, None]:
    """Yield the microphone's samples since the last block, as floats (n,)."""
    import numpy as np

    try:
        import sounddevice
    except (ImportError, OSError) as error:  # OSError: it lacks the library PortAudio
        raise TisdissError(
            f"--microphone needs the package sounddevice ({error}): pip install sounddevice, or "
            "pipe a recorder's raw samples into standard input"
        ) from None
    heard: queue.SimpleQueue[np.ndarray] = queue.SimpleQueue()
    try:
        with sounddevice.InputStream(
            samplerate=rate,
            channels=1,
            dtype="float32",
            callback=lambda block, *_: heard.put(block[:, 0].copy()),
        ):
            while True:
                blocks = [heard.get()]
                while not heard.empty():
                    blocks.append(heard.get())
                yield np.concatenate(blocks)
    except sounddevice.PortAudioError as error:
        raise TisdissError(f"--microphone: {error}; check --rate and the device") from None


@contextlib.contextmanager
def _sink(out: Path, rate: int, num_spk: int, sample_format: SampleFormat) -> Iterator[Sink]:
    """Provide a function that writes the next samples (j, n)."""
    from espnet2_tisdiss.audio.writing import AudioWriter, OutputFormat

    if out == STANDARD_OUTPUT:
        yield lambda block: _print_samples(block, sample_format)
        return
    with contextlib.ExitStack() as stack:
        paths = [out / f"spk{number}.wav" for number in range(1, num_spk + 1)]
        writers = [AudioWriter(path, rate, None, OutputFormat()) for path in paths]
        opened = [stack.enter_context(writer) for writer in writers]

        def write(block: "np.ndarray") -> None:
            for writer, speaker in zip(opened, block, strict=True):
                writer.write(speaker)

        yield write


def _print_samples(block: "np.ndarray", sample_format: SampleFormat) -> None:
    """Write samples (j, n) to standard output, with interleaved speakers."""
    import numpy as np

    frames = block.T
    if sample_format == "s16":
        frames = np.clip(np.round(frames * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1)
    sys.stdout.buffer.write(frames.astype(SAMPLES[sample_format]).tobytes())
    sys.stdout.buffer.flush()


def _report(live: "LiveSeparator") -> None:
    """Print the statistics of the session."""
    messages.print(
        f"{live.windows} windows, {live.late} of them late; last N_re {live.n_re}; longest wait of "
        f"the sound {live.longest_wait:.2f} s, not counting the computing time",
        markup=False,
        highlight=False,
    )
