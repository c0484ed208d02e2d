"""What surrounds a network on a bare core: start-up code, the map of the memory, and a program that runs it."""

from search.deploy.c.manifest import Manifest
from search.deploy.c.project import buffers, names
from search.deploy.cortex_m.emulator import FLASH, RAM, SIZE

STARTUP = """\
/* Vectors, what makes memory ready before main, and what compilers expect of a C library. */
#include <stddef.h>
#include <stdint.h>

void stack_top(void); /* where the stack begins, and no function */
extern uint32_t data_load, data_start, data_end, bss_start, bss_end;
int main(void);

static void halt(void)
{
    for (;;) {
    }
}

void Reset_Handler(void)
{
    const uint32_t *from = &data_load;
    for (uint32_t *to = &data_start; to < &data_end; ++to)
        *to = *from++;
    for (uint32_t *to = &bss_start; to < &bss_end; ++to)
        *to = 0;
    *(volatile uint32_t *)0xE000ED88u |= 0xFu << 20; /* CPACR: the floating-point unit, where there is one */
    (void)main();
    halt();
}

/* A word at a time, which these cores read and write at any address. */
#if defined(__GNUC__) && !defined(__clang__)
#define PLAIN __attribute__((weak, optimize("no-tree-loop-distribute-patterns")))
#else
#define PLAIN __attribute__((weak, no_builtin))
#endif

typedef uint32_t __attribute__((aligned(1), may_alias)) Word;

PLAIN void *memcpy(void *restrict to, const void *restrict from, size_t bytes)
{
    uint8_t *target = to;
    const uint8_t *source = from;
    for (; bytes >= 16; bytes -= 16, target += 16, source += 16) {
        const uint32_t a = *(const Word *)source, b = *(const Word *)(source + 4);
        const uint32_t c = *(const Word *)(source + 8), d = *(const Word *)(source + 12);
        *(Word *)target = a;
        *(Word *)(target + 4) = b;
        *(Word *)(target + 8) = c;
        *(Word *)(target + 12) = d;
    }
    for (; bytes >= 4; bytes -= 4, target += 4, source += 4)
        *(Word *)target = *(const Word *)source;
    for (; bytes > 0; --bytes)
        *target++ = *source++;
    return to;
}

PLAIN void *memset(void *to, int byte, size_t bytes)
{
    uint8_t *target = to;
    const uint32_t word = 0x01010101u * (uint8_t)byte;
    for (; bytes >= 4; bytes -= 4, target += 4)
        *(Word *)target = word;
    for (; bytes > 0; --bytes)
        *target++ = (uint8_t)byte;
    return to;
}

#ifdef __clang__
PLAIN void __aeabi_memcpy(void *to, const void *from, size_t bytes)
{
    memcpy(to, from, bytes);
}

PLAIN void __aeabi_memcpy4(void *to, const void *from, size_t bytes)
{
    memcpy(to, from, bytes);
}

PLAIN void __aeabi_memset(void *to, size_t bytes, int byte)
{
    memset(to, byte, bytes);
}

PLAIN void __aeabi_memclr(void *to, size_t bytes)
{
    memset(to, 0, bytes);
}
#endif

typedef void (*Vector)(void);
__attribute__((section(".vectors"), used)) const Vector vectors[16] = {
    stack_top, Reset_Handler, halt, halt, halt, halt, halt, halt, 0, 0, 0, halt, halt, 0, halt, halt,
};
"""
MEMORY = """\
/* The map of an emulated core. Set the sizes of yours. What is given and what is returned lie behind the image. */
MEMORY
{
    FLASH (rx) : ORIGIN = %(flash)#x, LENGTH = %(size)#x
    RAM (rwx) : ORIGIN = %(ram)#x, LENGTH = %(size)#x
}

ENTRY(Reset_Handler)

SECTIONS
{
    .text : { KEEP(*(.vectors)) *(.text*) *(.rodata*) . = ALIGN(4); } > FLASH
    .data : { . = ALIGN(4); data_start = .; *(.data*) . = ALIGN(4); data_end = .; } > RAM AT > FLASH
    data_load = LOADADDR(.data);
    .bss (NOLOAD) : { . = ALIGN(4); bss_start = .; *(.bss*) *(COMMON) . = ALIGN(4); bss_end = .; } > RAM
    .given (NOLOAD) : { . = ALIGN(8); KEEP(*(.given*)) } > RAM
    stack_top = ORIGIN(RAM) + LENGTH(RAM);
    /DISCARD/ : { *(.ARM.ex*) }
}
"""
IMAGE = """\
/* Runs the network again and again. A sensor's driver fills what it is given. */
#include "network.h"

%(buffers)s

int main(void)
{
    for (;;)
        network_run(%(arguments)s);
}
"""
TRACED = """\
/* The emulator reads a tensor whenever this is called. */
#include "network.h"

%(buffers)s

#ifdef NETWORK_READ_BYTES /* it reads sound */
__attribute__((section(".given"))) network_raw raw[NETWORK_RAW_SIZE];
#define READ() network_read(raw, in)
#else
#define READ() ((void)0)
#endif

void network_trace(int tensor, const void *codes, size_t bytes)
{
    __asm__ volatile("" : : "r"(tensor), "r"(codes), "r"(bytes) : "memory");
}

int main(void)
{
    READ();
    network_run(%(arguments)s);
    return 0;
}
"""


def firmware(manifest: Manifest) -> dict[str, str]:
    """Name -> text."""
    by_name = {each.name: each for each in manifest.tensors}
    given = '__attribute__((section(".given"))) '
    each = [
        (what, [by_name[name] for name in own]) for what, own in (("in", manifest.inputs), ("out", manifest.outputs))
    ]
    lines = [given + line.removeprefix("static ") for what, tensors in each for line in buffers(what, tensors)]
    arguments = [name for what, tensors in each for name in names(what, tensors)]
    values = {"buffers": "\n".join(lines), "arguments": ", ".join(arguments)}
    return {
        "startup.c": STARTUP,
        "image.ld": MEMORY % {"flash": FLASH, "ram": RAM, "size": SIZE},
        "image.c": IMAGE % values,
        "traced.c": TRACED % values,
    }
