/* The board's side of Learnae's serial link: samples, labels and log lines, each delivered once and in order.
 *
 * C99, no malloc, no other library. docs/bridge.md describes every byte. Everything here is called from one place (a main
 * loop), never from an interrupt.
 *
 *     static uint8_t memory[128];
 *     static const char text[] LEARNAE_FLASH = "pump/1.0 ax:m/s2:0.001 temp:Cel:0.01";
 *     static learnae_node node;
 *
 *     learnae_init(&node, memory, sizeof memory, put_byte, on_command);
 *     learnae_describe(&node, text, 2, 4, 50000); // two channels, 4 samples a frame, 50 Hz
 *     for (;;) {
 *         while (byte_waits()) learnae_receive(&node, next_byte());
 *         if (sample_is_due()) learnae_sample(&node, now(), values);
 *         learnae_poll(&node, now());
 *     }
 */
#ifndef LEARNAE_H
#define LEARNAE_H

#include <stdbool.h>
#include <stdint.h>

#if defined(__AVR__)
#include <avr/pgmspace.h>
#define LEARNAE_FLASH PROGMEM
#define LEARNAE_READ_FLASH(address) pgm_read_byte(address)
#else
#define LEARNAE_FLASH
#define LEARNAE_READ_FLASH(address) (*(const uint8_t *)(address))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Of a sample's values: int16_t, or int32_t with -DLEARNAE_WIDE. */
#ifdef LEARNAE_WIDE
typedef int32_t learnae_value;
#else
typedef int16_t learnae_value;
#endif

#ifndef LEARNAE_TICKS
#define LEARNAE_TICKS 1000UL /* ticks a second of the clock that is passed to every call */
#endif

#define LEARNAE_VERSION 1
#define LEARNAE_MAX_FRAME 250 /* header and payload: with its CRC a frame stays below COBS' longest run */
#define LEARNAE_MAX_TEXT 64   /* of an event, a label or a log line */
#define LEARNAE_TEXT_PART 32  /* of the description in one hello */
#define LEARNAE_LAST_PART 0x80 /* set in the number of a description's last hello */
#define LEARNAE_WINDOW 64     /* frames under way: half of what tells a sequence number's new from old, halved again */

enum { /* frame types */
    LEARNAE_HELLO = 1,
    LEARNAE_SAMPLES = 2,
    LEARNAE_EVENT = 3,
    LEARNAE_LOG = 4,
    LEARNAE_ACK = 5,
    LEARNAE_NAK = 6,
    LEARNAE_TIME = 7,
    LEARNAE_SET_RATE = 8,
    LEARNAE_PING = 9
};

enum { LEARNAE_HAPPENED = 0, LEARNAE_LABEL = 1 };                       /* kinds of an event */
enum { LEARNAE_DEBUG = 0, LEARNAE_INFO = 1, LEARNAE_WARNING = 2, LEARNAE_ERROR = 3 }; /* kinds of a log line */

/* Sends one byte; may wait until there is room. */
typedef void (*learnae_put)(uint8_t byte);

/* LEARNAE_SET_RATE: somebody wants `value` millihertz: sample at it and call learnae_describe, or leave it.
 * LEARNAE_TIME: it is `value` Unix seconds. */
typedef void (*learnae_command)(uint8_t type, uint32_t value);

typedef struct {
    learnae_put put;
    learnae_command command;
    uint8_t *memory;    /* finished frames, each after its length; then the frame that is being filled */
    const char *text;   /* description, in flash */
    uint32_t rate;      /* millihertz */
    uint32_t session;   /* the bridge's name for this run of the board; 0 until it has given one */
    uint32_t index;     /* number of the next sample, dropped ones counted */
    uint32_t now;       /* ticks at the last poll */
    uint32_t last;      /* ticks when something was last sent or confirmed */
    uint16_t size;      /* of memory */
    uint8_t frames;     /* finished and not confirmed */
    uint8_t first;      /* sequence number of the oldest of them, or of the next */
    uint8_t filled;     /* samples in the frame that is being filled */
    uint8_t channels;
    uint8_t rows;       /* samples in a full frame */
    uint8_t block;      /* bytes of a samples frame, without its CRC */
    uint8_t generation; /* number of the description */
    uint8_t in[10];     /* a command as it comes; its answer. None is as long: what fills it is too long */
    uint8_t in_length;
} learnae_node;

/* Start; `memory` holds what is not confirmed: 128 bytes carry 50 Hz of six channels. `command` may be null. */
void learnae_init(learnae_node *node, uint8_t *memory, uint16_t size, learnae_put put, learnae_command command);

/* Say what follows: "board/version name:unit:scale ...", units of SenML (RFC 8428), value = integer * scale. Call it
 * again when anything changes. False if a frame of `rows` samples does not fit. */
bool learnae_describe(learnae_node *node, const char *text, uint8_t channels, uint8_t rows, uint32_t millihertz);

/* One value a channel, taken at tick `now`. False if there is no room: it is dropped, and the bridge will know. */
bool learnae_sample(learnae_node *node, uint32_t ticks, const learnae_value *values);

/* Send the samples at hand although their frame is not full. */
void learnae_flush(learnae_node *node);

/* LEARNAE_EVENT or LEARNAE_LOG with its kind and at most LEARNAE_MAX_TEXT characters. False if there is no room. */
bool learnae_tell(learnae_node *node, uint8_t type, uint8_t kind, const char *text);

/* A byte has come. */
void learnae_receive(learnae_node *node, uint8_t byte);

/* Call often: says hello until the bridge answers, and sends again what it has not confirmed. */
void learnae_poll(learnae_node *node, uint32_t now);

#ifdef __cplusplus
}
#endif
#endif
