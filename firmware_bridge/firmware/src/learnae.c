#include "learnae.h"

#include <string.h>

#define HEADER 12                 /* of a samples frame: type, sequence, generation, rows, index, ticks */
#define HELLO 18                  /* of a hello, before its text */
#define PART 7                    /* where a hello has the number of its part */
#define CRC 2
#define RETRY (LEARNAE_TICKS / 4) /* a bridge answers within 50 ms; a board has time */
#define GREET LEARNAE_TICKS       /* between two hellos while no bridge answers */

/* CRC-16/IBM-3740 of a frame: polynomial 0x1021, most significant bit first; 0 over a frame with its CRC. It begins with
 * 0xFFFF: from 0, two frames whose zero between them was lost would pass as one. */
static uint16_t crc_of(const uint8_t *bytes, uint8_t length)
{
    uint16_t crc = 0xFFFF;
    while (length-- > 0) {
        crc = (uint16_t)(crc ^ (uint16_t)(*bytes++ << 8));
        for (uint8_t bit = 8; bit > 0; bit--) {
            const bool carry = (crc & 0x8000U) != 0;
            crc = (uint16_t)(crc << 1);
            if (carry) {
                crc ^= 0x1021U;
            }
        }
    }
    return crc;
}

/* Sends `length` bytes and their CRC, which is written behind them, in COBS (Cheshire & Baker 1999). */
static void send(const learnae_node *node, uint8_t *bytes, uint8_t length)
{
    const uint16_t crc = crc_of(bytes, length);
    uint8_t *const end = bytes + length + CRC;
    bytes[length] = (uint8_t)(crc >> 8);
    bytes[length + 1] = (uint8_t)crc;
    do {
        uint8_t *zero = bytes;
        while (zero != end && *zero != 0) {
            zero++;
        }
        node->put((uint8_t)(zero - bytes + 1));
        while (bytes != zero) {
            node->put(*bytes++);
        }
    } while (bytes++ != end);
    node->put(0);
}

static uint8_t *write32(uint8_t *to, uint32_t value)
{
    for (uint8_t i = 4; i > 0; i--) {
        *to++ = (uint8_t)value;
        value >>= 8;
    }
    return to;
}

static uint8_t *begin(uint8_t *to, uint8_t type, uint8_t sequence)
{
    *to++ = (uint8_t)(LEARNAE_VERSION << 4 | type);
    *to++ = sequence;
    return to;
}

static void send_hello(learnae_node *node)
{
    uint8_t hello[HELLO + LEARNAE_TEXT_PART + CRC];
    const char *text = node->text;
    write32(begin(hello, LEARNAE_HELLO, node->first), node->session);
    hello[6] = node->generation;
    hello[PART] = 0;
    hello[8] = (uint8_t)sizeof(learnae_value);
    hello[9] = node->rows;
    write32(write32(hello + 10, LEARNAE_TICKS), node->rate);
    node->last = node->now;
    node->put(0); /* ends what a reset may have cut off */
    do {
        uint8_t length = HELLO;
        while (length < HELLO + LEARNAE_TEXT_PART && LEARNAE_READ_FLASH(text) != 0) {
            hello[length++] = LEARNAE_READ_FLASH(text++);
        }
        if (LEARNAE_READ_FLASH(text) == 0) {
            hello[PART] |= LEARNAE_LAST_PART;
        }
        send(node, hello, length);
        hello[PART]++;
    } while (LEARNAE_READ_FLASH(text) != 0);
}

/* The finished frame of this number, counted from the oldest: its length, then its bytes. */
static uint8_t *frame_at(const learnae_node *node, uint8_t number)
{
    uint8_t *at = node->memory;
    while (number-- > 0) {
        at += *at + 1 + CRC;
    }
    return at;
}

static void send_frame(learnae_node *node, uint8_t *at)
{
    node->last = node->now;
    send(node, at + 1, *at);
}

/* Forget the oldest frames. */
static void drop(learnae_node *node, uint8_t count)
{
    const uint8_t *left = frame_at(node, count);
    memmove(node->memory, left, (size_t)(node->memory + node->size - left));
    node->frames = (uint8_t)(node->frames - count);
    node->first = (uint8_t)(node->first + count);
}

/* Where a new frame of `length` bytes begins behind the finished ones, its header written; null if there is no room. As
 * long as nobody listens the oldest make room, for this one and the next: whoever comes has more use for the newest. */
static uint8_t *open_frame(learnae_node *node, uint8_t length, uint8_t type)
{
    const int16_t room = (int16_t)((length + 1 + CRC) * (node->session == 0 ? 2 : 1));
    uint8_t *at = frame_at(node, node->frames);
    while (node->frames == LEARNAE_WINDOW || node->memory + node->size - at < room) {
        if (node->session != 0 || node->frames == 0) {
            return 0;
        }
        drop(node, 1);
        at = frame_at(node, node->frames);
    }
    *at++ = length;
    return begin(at, type, 0);
}

/* The frame behind the finished ones is finished, too. */
static void finish(learnae_node *node)
{
    uint8_t *const at = frame_at(node, node->frames);
    at[2] = (uint8_t)(node->first + node->frames);
    node->frames++;
    if (node->session != 0) {
        send_frame(node, at);
    }
}

void learnae_init(learnae_node *node, uint8_t *memory, uint16_t size, learnae_put put, learnae_command command)
{
    memset(node, 0, sizeof *node);
    node->memory = memory;
    node->size = size;
    node->put = put;
    node->command = command;
}

bool learnae_describe(learnae_node *node, const char *text, uint8_t channels, uint8_t rows, uint32_t millihertz)
{
    const uint16_t length = (uint16_t)(HEADER + (uint16_t)(channels * rows) * sizeof(learnae_value));
    if (channels == 0 || rows == 0 || length > LEARNAE_MAX_FRAME || length + 1U + CRC > node->size) {
        return false;
    }
    learnae_flush(node);
    node->text = text;
    node->channels = channels;
    node->rows = rows;
    node->block = (uint8_t)length;
    node->rate = millihertz;
    node->generation++;
    send_hello(node);
    return true;
}

bool learnae_sample(learnae_node *node, uint32_t ticks, const learnae_value *values)
{
    const uint32_t index = node->index++;
    if (node->filled == 0) {
        uint8_t *to = open_frame(node, node->block, LEARNAE_SAMPLES);
        if (to == 0 || node->rows == 0) {
            return false;
        }
        *to++ = node->generation;
        write32(write32(to + 1, index), ticks);
    }
    uint8_t *to = frame_at(node, node->frames) + 1 + HEADER + node->filled * sizeof(learnae_value);
    for (uint8_t channel = node->channels; channel > 0; channel--) {
        learnae_value value = *values++;
        for (uint8_t i = 0; i < sizeof value; i++) {
            to[i] = (uint8_t)value;
            value = (learnae_value)(value >> 8);
        }
        to += node->rows * sizeof value;
    }
    if (++node->filled == node->rows) {
        learnae_flush(node);
    }
    return true;
}

void learnae_flush(learnae_node *node)
{
    if (node->filled != 0) {
        frame_at(node, node->frames)[4] = node->filled;
        node->filled = 0;
        finish(node);
    }
}

bool learnae_tell(learnae_node *node, uint8_t type, uint8_t kind, const char *text)
{
    uint8_t length = 0;
    while (length < LEARNAE_MAX_TEXT && text[length] != 0) {
        length++;
    }
    learnae_flush(node);
    uint8_t *to = open_frame(node, (uint8_t)(length + 7), type);
    if (to == 0) {
        return false;
    }
    to = write32(to, node->now);
    *to++ = kind;
    memcpy(to, text, length);
    finish(node);
    return true;
}

/* The oldest `count` frames have arrived. */
static void confirm(learnae_node *node, uint8_t count)
{
    if (count != 0 && count <= node->frames) { /* else it is old news */
        drop(node, count);
        node->last = node->now;
    }
}

/* A bridge has named this run, and expects `sequence` next. */
static void welcome(learnae_node *node, uint32_t session, uint8_t sequence)
{
    if (node->session == session) {
        return; /* said twice */
    }
    node->session = session;
    node->first = sequence;
    for (uint8_t number = 0; number < node->frames; number++) {
        uint8_t *const at = frame_at(node, number);
        at[2] = (uint8_t)(sequence + number);
        send_frame(node, at);
    }
}

static void obey(learnae_node *node, uint8_t length)
{
    uint8_t *const in = node->in + 1;
    const uint8_t type = (uint8_t)(in[0] & 15);
    if (length == 8) {
        uint32_t value = 0;
        for (uint8_t i = 5; i > 1; i--) {
            value = value << 8 | in[i];
        }
        if (type == LEARNAE_HELLO) {
            welcome(node, value, in[1]);
        } else if (node->command != 0) {
            node->command(type, value);
        }
    } else if (type == LEARNAE_HELLO) {
        send_hello(node);
    } else if (type == LEARNAE_PING) { /* the answer takes the question's place */
        write32(begin(in, LEARNAE_TIME, in[1]), node->now);
        send(node, in, 6);
    } else if (node->session != 0) {
        const uint8_t number = (uint8_t)(in[1] - node->first);
        if (type == LEARNAE_ACK) {
            confirm(node, number);
        } else if (type == LEARNAE_NAK && number < node->frames) {
            send_frame(node, frame_at(node, number));
        }
    }
}

/* Takes COBS off in place: every code becomes the zero that it stands for. The length of what is then behind the first of
 * them, or 0 for what is no command of this version. */
static uint8_t unpack(uint8_t *bytes, uint8_t length)
{
    for (uint8_t at = 0; at < length;) {
        const uint8_t run = bytes[at];
        if (run > (uint8_t)(length - at)) {
            return 0;
        }
        bytes[at] = 0;
        at = (uint8_t)(at + run);
    }
    bytes++;
    length--;
    if ((length != 4 && length != 8) || *bytes >> 4 != LEARNAE_VERSION || crc_of(bytes, length) != 0) {
        return 0;
    }
    return length;
}

void learnae_receive(learnae_node *node, uint8_t byte)
{
    if (byte != 0) {
        if (node->in_length < sizeof node->in) {
            node->in[node->in_length++] = byte;
        }
        return;
    }
    const uint8_t length = unpack(node->in, node->in_length);
    node->in_length = 0;
    if (length != 0 && node->text != 0) {
        obey(node, length);
    }
}

void learnae_poll(learnae_node *node, uint32_t now)
{
    const uint32_t since = now - node->last;
    node->now = now;
    if (node->session != 0) {
        if (node->frames != 0 && since >= RETRY) {
            send_frame(node, node->memory);
        }
    } else if (node->text != 0 && since >= GREET) {
        send_hello(node);
    }
}
