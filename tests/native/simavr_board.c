/* A simulated AVR board: firmware on simavr, UART0 on a pseudo-terminal, time as fast as the wall clock (x SPEED).
 *
 *     simavr_board MCU FIRMWARE.elf LINK [SPEED]
 *
 * LINK becomes a symbolic link to the terminal. ADC0 sees a triangle wave, 0.5 V to 4.5 V and back in two seconds. Lines on
 * standard input: "low PIN" and "high PIN" pull pins of port D, each for a tenth of a second of the board's time at least. It
 * ends with its standard input.
 *
 * However busy the machine is, the firmware sees a wire of 115200 baud and a bridge that reads: all of this is one thread, and
 * the board's time stands still while the bridge does not get its turn.
 */
#include <fcntl.h>
#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include <avr_adc.h>
#include <avr_ioport.h>
#include <avr_uart.h>
#include <sim_avr.h>
#include <sim_elf.h>

#define FREQUENCY 16000000UL
#define MILLISECOND (FREQUENCY / 1000)
#define PIND 0x29     /* address of the register that shows port D's pins, on both chips */
#define BYTES 11      /* in a millisecond, at 115200 baud */
#define HOLD 100      /* milliseconds between two changes of a pin: no finger is faster, and no firmware misses it */
#define UNREAD 512    /* bytes: a second of samples, which a bridge that gets its turns leaves for a moment at most */

static unsigned pins = 0xFF; /* of port D: what is outside the chip outlives its reset */
static int terminal, others; /* its two ends: ours, and the one that stays open so that ours is of use */
static int may_send;         /* the chip has room for what comes */

static double wall_clock(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* simavr would sleep by itself, on a clock that stands still while the program is busy */
static void no_sleep(avr_t *avr, avr_cycle_count_t cycles)
{
    (void)avr;
    (void)cycles;
}

/* A reset of the chip clears what simavr knows of the pins. */
static void apply_pins(avr_t *avr)
{
    if (avr->data[PIND] == pins) {
        return;
    }
    for (int pin = 0; pin < 8; pin++) {
        avr_irq_t *irq = avr_io_getirq(avr, AVR_IOCTL_IOPORT_GETIRQ('D'), pin);
        avr_raise_irq(irq, !(pins >> pin & 1)); /* one that it believes to have is not told again */
        avr_raise_irq(irq, pins >> pin & 1);
    }
}

static void on_ready(avr_irq_t *irq, uint32_t value, void *ready)
{
    (void)irq;
    (void)value;
    may_send = ready != NULL;
}

/* As on a wire, what nobody takes is lost. */
static void on_output(avr_irq_t *irq, uint32_t value, void *unused)
{
    (void)irq;
    (void)unused;
    const uint8_t byte = (uint8_t)value;
    const ssize_t sent = write(terminal, &byte, 1);
    (void)sent;
}

/* False if there is no terminal. */
static int open_terminal(avr_t *avr, const char *link)
{
    char name[64];
    struct termios raw;
    uint32_t flags = 0;
    if (openpty(&terminal, &others, name, NULL, NULL) != 0 || tcgetattr(terminal, &raw) != 0) {
        return 0;
    }
    cfmakeraw(&raw);
    tcsetattr(terminal, TCSANOW, &raw);
    fcntl(terminal, F_SETFL, O_NONBLOCK);
    avr_ioctl(avr, AVR_IOCTL_UART_SET_FLAGS('0'), &flags); /* no line of it on the standard output */
    avr_irq_register_notify(avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_OUTPUT), on_output, NULL);
    avr_irq_register_notify(avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_OUT_XON), on_ready, &terminal);
    avr_irq_register_notify(avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_OUT_XOFF), on_ready, NULL);
    unlink(link);
    return symlink(name, link) == 0;
}

/* What a millisecond brings from the terminal. */
static void receive(avr_t *avr)
{
    uint8_t byte;
    for (int left = BYTES; left > 0 && may_send && read(terminal, &byte, 1) == 1; left--) {
        avr_raise_irq(avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_INPUT), byte);
    }
}

/* Whether nobody has lately read what was sent. */
static int is_unread(void)
{
    int count = 0;
    return ioctl(others, FIONREAD, &count) == 0 && count > UNREAD;
}

/* Called every millisecond; false at the end of standard input. */
static int obey(void)
{
    static char line[64];
    static size_t length;
    static unsigned held;
    char byte;
    ssize_t got = -1;
    held++;
    while (held >= HOLD && (got = read(STDIN_FILENO, &byte, 1)) == 1) {
        if (byte != '\n') {
            if (length < sizeof line - 1) {
                line[length++] = byte;
            }
            continue;
        }
        line[length] = 0;
        length = 0;
        held = 0;
        unsigned pin;
        if (sscanf(line, "low %u", &pin) == 1) {
            pins &= ~(1U << pin);
        } else if (sscanf(line, "high %u", &pin) == 1) {
            pins |= 1U << pin;
        }
    }
    return got != 0;
}

int main(int count, char **words)
{
    elf_firmware_t firmware;
    memset(&firmware, 0, sizeof firmware);
    if (count < 4 || elf_read_firmware(words[2], &firmware) != 0) {
        fprintf(stderr, "usage: simavr_board MCU FIRMWARE.elf LINK [SPEED]\n");
        return 2;
    }
    const double speed = count > 4 ? atof(words[4]) : 1;
    avr_t *avr = avr_make_mcu_by_name(words[1]);
    if (avr == NULL) {
        return 2;
    }
    avr_init(avr);
    avr->log = LOG_ERROR;
    firmware.frequency = FREQUENCY;
    firmware.vcc = firmware.avcc = firmware.aref = 5000;
    avr_load_firmware(avr, &firmware);
    avr->sleep = no_sleep;

    if (!open_terminal(avr, words[3])) {
        return 3;
    }
    fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK);
    apply_pins(avr);
    printf("ready\n");
    fflush(stdout);

    avr_irq_t *adc = avr_io_getirq(avr, AVR_IOCTL_ADC_GETIRQ, ADC_IRQ_ADC0);
    avr_cycle_count_t done = avr->cycle;
    double due = wall_clock();
    for (;;) {
        const int state = avr_run(avr);
        if (state == cpu_Done || state == cpu_Crashed) {
            fprintf(stderr, "the processor has stopped in state %d\n", state);
            return 1;
        }
        if (avr->cycle < done) { /* it was reset */
            done = avr->cycle;
        }
        if (avr->cycle - done < MILLISECOND) {
            continue;
        }
        due += (double)(avr->cycle - done) / FREQUENCY / speed;
        done = avr->cycle;
        const unsigned long at = (avr->cycle / MILLISECOND) % 2000;
        avr_raise_irq(adc, (uint32_t)(at < 1000 ? 500 + at * 4 : 4500 - (at - 1000) * 4));
        do {
            if (!obey()) {
                return 0;
            }
        } while (is_unread() && usleep(1000) == 0);
        apply_pins(avr);
        receive(avr);
        const double ahead = due - wall_clock();
        if (ahead > 0) {
            usleep((useconds_t)(ahead * 1e6));
        } else if (ahead < -0.5) { /* the machine was busy: time is lost, bytes are not */
            due = wall_clock();
        }
    }
}
