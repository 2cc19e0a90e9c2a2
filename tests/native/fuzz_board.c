/* Hostile bytes into the firmware library, under ASan and UBSan. Two ways to run it:
 *
 *     clang -fsanitize=fuzzer,address,undefined ...             libFuzzer, guided by coverage
 *     clang -DSEEDED -fsanitize=address,undefined ...           fuzz_board INPUTS SEED: the same inputs every time
 *
 * An input is a script: each byte pair is an action and its argument. Whatever happens, the library stays within the memory
 * that it was given (a heap block of exactly that size), and what it confirms was sent.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "learnae.h"

static unsigned long sent;

static void put(uint8_t byte)
{
    sent += byte;
}

static void command(uint8_t type, uint32_t value)
{
    if (type != LEARNAE_SET_RATE && type != LEARNAE_TIME && type > 15) {
        abort();
    }
    sent += value;
}

static uint16_t crc_of(const uint8_t *bytes, size_t length)
{
    uint16_t crc = 0xFFFF;
    while (length-- > 0) {
        crc = (uint16_t)(crc ^ (*bytes++ << 8));
        for (int bit = 0; bit < 8; bit++) {
            crc = (uint16_t)(crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1);
        }
    }
    return crc;
}

/* A frame with a right CRC: random bytes alone would hardly ever get past it. */
static void give_frame(learnae_node *node, const uint8_t *body, size_t length)
{
    uint8_t frame[32];
    size_t at = 0;
    memcpy(frame, body, length);
    const uint16_t crc = crc_of(frame, length);
    frame[length] = (uint8_t)(crc >> 8);
    frame[length + 1] = (uint8_t)crc;
    length += 2;
    while (at <= length) {
        size_t zero = at;
        while (zero < length && frame[zero] != 0) {
            zero++;
        }
        learnae_receive(node, (uint8_t)(zero - at + 1));
        while (at < zero) {
            learnae_receive(node, frame[at++]);
        }
        at++;
    }
    learnae_receive(node, 0);
}

static void check(const learnae_node *node)
{
    size_t used = 0;
    for (uint8_t number = 0; number < node->frames; number++) {
        used += (size_t)node->memory[used] + 3;
    }
    if (used > node->size || node->frames > LEARNAE_WINDOW || node->filled > node->rows) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char text[] = "fuzz/1 a:m/s2:0.001 b:Cel:0.01 with-a-long-name:count:1 and-another:V:1";
    if (size < 2) {
        return 0;
    }
    const uint16_t room = (uint16_t)(24 + data[0]);
    uint8_t *memory = malloc(room);
    uint32_t now = 0;
    learnae_node node;
    learnae_init(&node, memory, room, put, data[1] & 1 ? command : NULL);
    (void)learnae_describe(&node, text, (uint8_t)(1 + data[1] % 4), (uint8_t)(1 + data[1] / 4 % 8), 50000);
    for (size_t i = 2; i + 1 < size; i += 2) {
        const uint8_t argument = data[i + 1];
        const learnae_value values[4] = {argument, -argument, 0, 1};
        const uint8_t body[6] = {(uint8_t)(LEARNAE_VERSION << 4 | (argument & 15)), data[i - 1], argument, 0, 1, data[i]};
        switch (data[i] % 8) {
        case 0:
            (void)learnae_sample(&node, now, values);
            break;
        case 1:
            learnae_receive(&node, argument);
            break;
        case 2:
            give_frame(&node, body, argument & 16 ? 6 : 2);
            break;
        case 3:
            now += (uint32_t)argument * argument;
            learnae_poll(&node, now);
            break;
        case 4:
            (void)learnae_tell(&node, LEARNAE_EVENT, argument, text + argument % sizeof text);
            break;
        case 5:
            (void)learnae_describe(&node, text, (uint8_t)(1 + argument % 4), (uint8_t)(argument / 16), argument);
            break;
        case 6:
            learnae_flush(&node);
            break;
        default:
            give_frame(&node, data + i, 2 + argument % (size - i < 20 ? 1 : 18));
        }
        check(&node);
    }
    free(memory);
    return 0;
}

#ifdef SEEDED
int main(int count, char **words)
{
    const long inputs = count > 1 ? atol(words[1]) : 1000;
    unsigned long long state = count > 2 ? strtoull(words[2], NULL, 10) : 1;
    for (long input = 0; input < inputs; input++) {
        uint8_t data[256];
        for (size_t i = 0; i < sizeof data; i++) {
            state = state * 6364136223846793005ULL + 1442695040888963407ULL;
            data[i] = (uint8_t)(state >> 56);
        }
        LLVMFuzzerTestOneInput(data, 2 + (size_t)(state >> 33) % (sizeof data - 2));
    }
    printf("%ld inputs, checksum %lu\n", inputs, sent);
    return 0;
}
#endif
