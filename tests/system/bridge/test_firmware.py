"""The firmware library: compiles everywhere without a warning, fits the smallest board, survives hostile bytes."""

import re
import shutil
import subprocess

import pytest
from boards import AVR_FLAGS, EXAMPLE, NATIVE, WARNINGS, build_example
from nightly import how_many
from programs import succeed

from bench.rigs.host_board import LIBRARY, ROOT, build

pytestmark = pytest.mark.slow  # what compilers say does not depend on Python

SOURCE = LIBRARY / "learnae.c"
SANITIZED = ("-g", "-O1", "-fno-sanitize-recover=all", f"-I{LIBRARY}")
INPUTS = how_many(10_000, 1_000_000)
FLASH, RAM = 2048, 200  # bytes that the sender may take of an ATmega328P's 32,768 and 2,048


def sizes(elf) -> dict[str, int]:
    """Bytes of every symbol, by name without what the compiler adds to clones."""
    found: dict[str, int] = {}
    for line in succeed("avr-nm", "-S", elf).stdout.splitlines():
        parts = line.split()
        if len(parts) == 4:
            name = parts[3].split(".")[0]
            found[name] = found.get(name, 0) + int(parts[1], 16)
    return found


def compiled(tmp_path, compiler: list[str], wide: bool = False, standard: str = "c99") -> str:
    flags = [f"-std={standard}", "-Os", *WARNINGS, *(["-DLEARNAE_WIDE"] if wide else [])]
    return succeed(*compiler, *flags, "-c", SOURCE, "-o", tmp_path / "learnae.o").stderr


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize(
    "compiler",
    [
        pytest.param(["gcc"], marks=pytest.mark.engine("gcc")),
        pytest.param(
            ["clang", "-Weverything", "-Wno-declaration-after-statement", "-Wno-padded"],
            marks=pytest.mark.engine("clang"),
        ),
        pytest.param(
            ["clang", "--target=armv7m-none-eabi", "-ffreestanding", "-mthumb"], marks=pytest.mark.engine("clang")
        ),
        pytest.param(["avr-gcc", "-mmcu=atmega328p"], marks=pytest.mark.engine("avr-gcc")),
        pytest.param(["avr-gcc", "-mmcu=atmega2560"], marks=pytest.mark.engine("avr-gcc")),
    ],
    ids=lambda compiler: " ".join(compiler[:2]) if isinstance(compiler, list) else str(compiler),
)
def test_it_compiles_without_a_warning(tmp_path, compiler, wide):
    if "armv7m" in " ".join(compiler):
        (tmp_path / "string.h").write_text(
            "#include <stddef.h>\nvoid *memcpy(void *, const void *, size_t);\n"
            "void *memmove(void *, const void *, size_t);\nvoid *memset(void *, int, size_t);\n"
        )
        compiler = [*compiler, f"-I{tmp_path}"]
    assert compiled(tmp_path, compiler, wide) == ""


@pytest.mark.engine("avr-gcc")
@pytest.mark.parametrize("flags", [AVR_FLAGS, ("-std=gnu99", "-Os")], ids=["example", "plain"])
@pytest.mark.parametrize("mcu", ["atmega328p", "atmega2560"])
def test_the_sender_fits_in_two_kilobytes_of_flash(tmp_path, mcu, flags):
    target = tmp_path / "learnae.o"
    succeed("avr-gcc", *flags, f"-mmcu={mcu}", "-c", SOURCE, "-o", target)
    text, data, bss = map(int, succeed("avr-size", target).stdout.splitlines()[1].split()[:3])
    assert text <= FLASH
    assert (data, bss) == (0, 0)  # its state is the caller's


@pytest.mark.engine("avr-gcc")
def test_linked_with_what_it_calls_it_still_fits():
    symbols = sizes(build_example("atmega328p"))
    mine = set(re.findall(r"^(?:static [\w* ]+?|void|bool) \*?(\w+)\(", SOURCE.read_text(), re.MULTILINE))
    called = {"memcpy", "memmove", "memset", "__prologue_saves__", "__epilogue_restores__"}
    assert {"learnae_receive", "learnae_sample", "send_hello"} <= mine & set(symbols)
    assert sum(symbols.get(name, 0) for name in mine | called) <= FLASH


@pytest.mark.engine("avr-gcc")
def test_the_sender_fits_in_two_hundred_bytes_of_memory():
    symbols = sizes(build_example("atmega328p"))
    assert symbols["memory"] >= 128  # two frames of six channels
    assert symbols["node"] + symbols["memory"] <= RAM


def snippets() -> list[tuple[str, str]]:
    """Every piece of C in the headers' comments (indented) and on the pages (fenced), with where it is."""
    found = []
    for header in sorted(LIBRARY.rglob("*.h")):
        for comment in re.findall(r"/\*.*?\*/", header.read_text(), re.DOTALL):
            lines = [line.removeprefix(" * " * line.startswith(" * ")) for line in comment.splitlines()]
            code = "\n".join(line[4:] for line in lines if line.startswith("    ") or line == " *")
            found += [(header.name, code)] if code.strip() else []
    for page in sorted({*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("firmware_bridge/**/*.md")}):
        found += [(page.name, code) for code in re.findall(r"```c(?:pp)?\n(.*?)```", page.read_text(), re.DOTALL)]
    uart = re.search(r"`put` is `([^`]*)`, the clock\s+`([^`]*)`", (ROOT / "docs" / "bridge.md").read_text())
    assert uart is not None
    found.append(
        ("bridge.md", f"for (;;) {{ const uint8_t byte = 0; {uart[1]}; learnae_poll(&node, (uint32_t){uart[2]}); }}")
    )
    return found


SURROUNDINGS = """
#include <stddef.h>
#include "learnae.h"
extern void put_byte(uint8_t byte); extern void on_command(uint8_t type, uint32_t value);
extern uint32_t now(void); extern bool byte_waits(void); extern uint8_t next_byte(void);
extern bool sample_is_due(void);
extern const learnae_value values[2];
enum { UART_NUM_1 = 1 }; extern int uart_write_bytes(int port, const void *data, size_t size);
extern int64_t esp_timer_get_time(void);
extern learnae_node node;
void example(void);
void example(void) {
"""


@pytest.mark.engine("gcc")
@pytest.mark.parametrize(("place", "code"), snippets(), ids=lambda text: text if text.endswith((".h", ".md")) else "")
def test_every_piece_of_c_that_is_shown_compiles(tmp_path, place, code):
    source = tmp_path / f"{place}.c"
    source.write_text(code if "#include" in code else f"{SURROUNDINGS}{code}\n}}\n")
    succeed("gcc", "-std=c99", *WARNINGS, f"-I{LIBRARY}", "-c", source, "-o", tmp_path / "example.o")


def test_the_library_needs_nothing():
    includes = set(re.findall(r"#include [<\"]([\w./]+)", SOURCE.read_text() + (LIBRARY / "learnae.h").read_text()))
    assert includes == {"learnae.h", "string.h", "stdbool.h", "stdint.h", "avr/pgmspace.h"}
    assert not re.search(r"\b(malloc|calloc|realloc|free)\(", SOURCE.read_text())


@pytest.mark.engine("avr-gcc", "make")
def test_the_example_builds_as_its_makefile_says(tmp_path):
    tree = tmp_path / "firmware"
    shutil.copytree(EXAMPLE.parents[1], tree)
    done = succeed("make", "-C", tree / "examples" / "avr", "MCU=atmega2560")
    assert done.stderr == ""
    assert (tree / "examples" / "avr" / "node-atmega2560.hex").stat().st_size > 5000


def fuzzer(*flags: str):
    source = NATIVE / "fuzz_board.c"
    return build("fuzz_board", ["clang", *SANITIZED, *flags, source, SOURCE], [source])


@pytest.mark.engine("clang")
def test_hostile_inputs_under_sanitizers():
    done = succeed(fuzzer("-DSEEDED", "-fsanitize=address,undefined"), INPUTS, "1")
    assert done.stdout.startswith(f"{INPUTS} inputs")


@pytest.mark.engine("clang")
def test_hostile_inputs_that_look_for_new_paths(tmp_path):
    program = fuzzer("-fsanitize=fuzzer,address,undefined")
    options = (f"-runs={INPUTS}", "-seed=1", "-max_len=256", f"-artifact_prefix={tmp_path}/")
    done = succeed(program, *options, timeout=1800)
    assert f"Done {INPUTS} runs" in done.stderr


@pytest.mark.engine("clang")
def test_the_sanitizers_would_see_a_byte_too_far(tmp_path):
    """The fuzzer's check can fail: a library that writes one byte beyond its memory is caught."""
    broken = SOURCE.read_text().replace("((length + 1 + CRC) *", "((length + CRC) *")
    assert broken != SOURCE.read_text()
    (tmp_path / "learnae.c").write_text(broken)
    flags = [*SANITIZED, "-DSEEDED", "-fsanitize=address,undefined"]
    program = tmp_path / "fuzz"
    succeed("clang", *flags, NATIVE / "fuzz_board.c", tmp_path / "learnae.c", "-o", program)
    done = subprocess.run([program, "10000", "1"], capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode != 0


@pytest.mark.engine("avr-g++")
def test_the_sketch_compiles_as_arduino_does_it(tmp_path):
    sketch = LIBRARY.parent / "examples" / "Potentiometer" / "Potentiometer.ino"
    flags = ["-x", "c++", "-std=gnu++11", "-mmcu=atmega328p", "-Os", "-Wall", "-Wextra", "-Werror"]
    includes = ["-include", "Arduino.h", f"-I{NATIVE / 'arduino'}", f"-I{LIBRARY}"]
    succeed("avr-g++", *flags, *includes, "-c", sketch, "-o", tmp_path / "sketch.o")
