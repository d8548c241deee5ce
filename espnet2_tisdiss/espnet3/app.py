"""The browser demo that ESPnet3's ``pack_demo`` copies, with a row of players for each depth."""

import itertools
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gradio import Blocks


def build(folder: Path) -> "Blocks":
    """Build the page of a packed demo."""
    import gradio
    from espnet3.publication.demo.session import load_demo_session

    session = load_demo_session(folder, "demo.yaml")
    inputs, outputs = session.input_specs, session.output_specs
    with gradio.Blocks(title=session.title) as page:
        gradio.Markdown(f"# {session.title}\n\n{session.description or ''}")
        sources = [session.build_input_component(spec) for spec in inputs]
        button = gradio.Button("Separate")
        players = []
        # keys are re1_spk1, re1_spk2, re2_spk1, ...
        for _, row in itertools.groupby(outputs, lambda spec: spec["key"].partition("_")[0]):
            with gradio.Row():
                players += [session.build_output_component(spec) for spec in row]
        button.click(session.create_inference_fn(inputs, outputs), sources, players)
    return page


if __name__ == "__main__":
    build(Path(__file__).parent).launch()
