/* The firmware library as it runs on a board, here called from Python (ctypes), in a time that the caller makes up.
 *
 * Takes samples of three channels whose values follow from their number (see host_value), so that every reading that
 * arrives can be checked.
 */
#include <stdlib.h>
#include <string.h>

#include "learnae.h"

#define CHANNELS 3
#define OUTPUT 65536

typedef struct {
    learnae_node node;
    uint8_t *memory;
    uint8_t output[OUTPUT];
    uint32_t length;
    uint32_t lost; /* bytes that there was no room for: the caller takes them out too seldom */
    uint32_t commands[2];
} host_board;

static host_board *current; /* whose library is running: put() has no other way to know */

static const char text[] = "host-board/2.5 ramp:m/s2:0.001 noise:Cel:0.01 steps:count:1";

static void put(uint8_t byte)
{
    if (current->length < OUTPUT) {
        current->output[current->length++] = byte;
    } else {
        current->lost++;
    }
}

static void command(uint8_t type, uint32_t value)
{
    current->commands[type == LEARNAE_SET_RATE] = value;
}

int32_t host_value(uint32_t index, uint32_t channel)
{
    const uint32_t mixed = (index * 2654435761U) ^ (index >> 7);
    const int32_t values[CHANNELS] = {(int32_t)(index % 65536U) - 32768, (int32_t)(mixed >> 16) - 32768,
                                      (int32_t)(index / 256U % 256U)};
    return values[channel];
}

host_board *host_new(uint16_t size, uint8_t rows, uint32_t millihertz)
{
    host_board *board = calloc(1, sizeof *board);
    board->memory = malloc(size);
    current = board;
    learnae_init(&board->node, board->memory, size, put, command);
    if (!learnae_describe(&board->node, text, CHANNELS, rows, millihertz)) {
        abort();
    }
    return board;
}

void host_free(host_board *board)
{
    free(board->memory);
    free(board);
}

bool host_describe(host_board *board, const char *other, uint8_t channels, uint8_t rows, uint32_t millihertz)
{
    current = board;
    return learnae_describe(&board->node, other, channels, rows, millihertz);
}

bool host_sample(host_board *board, uint32_t ticks)
{
    learnae_value values[CHANNELS];
    for (uint32_t channel = 0; channel < CHANNELS; channel++) {
        values[channel] = (learnae_value)host_value(board->node.index, channel);
    }
    current = board;
    return learnae_sample(&board->node, ticks, values);
}

void host_flush(host_board *board)
{
    current = board;
    learnae_flush(&board->node);
}

bool host_tell(host_board *board, uint8_t type, uint8_t kind, const char *words)
{
    current = board;
    return learnae_tell(&board->node, type, kind, words);
}

void host_poll(host_board *board, uint32_t now)
{
    current = board;
    learnae_poll(&board->node, now);
}

void host_receive(host_board *board, const uint8_t *bytes, uint32_t length)
{
    current = board;
    while (length-- > 0) {
        learnae_receive(&board->node, *bytes++);
    }
}

/* Gives at most `size` bytes of what the board has sent. */
uint32_t host_take(host_board *board, uint8_t *bytes, uint32_t size)
{
    const uint32_t count = board->length < size ? board->length : size;
    memcpy(bytes, board->output, count);
    memmove(board->output, board->output + count, board->length - count);
    board->length -= count;
    return count;
}

uint32_t host_lost(const host_board *board)
{
    return board->lost;
}

uint32_t host_index(const host_board *board)
{
    return board->node.index;
}

uint32_t host_session(const host_board *board)
{
    return board->node.session;
}

uint32_t host_frames(const host_board *board)
{
    return board->node.frames;
}

uint32_t host_commanded(const host_board *board, bool rate)
{
    return board->commands[rate];
}
