/* A sensor node on an ATmega328P or ATmega2560 at 16 MHz, without Arduino: 50 Hz of a counter and of the voltage at ADC0.
 *
 * Pin PD2 to ground is a label, "pressed", for as long as it is held. Pin PD3 to ground hangs the program, to show
 * that the watchdog brings it back. 115200 baud, 8N1.
 */
#include <avr/interrupt.h>
#include <avr/io.h>
#include <avr/wdt.h>
#include <util/atomic.h>

#include "learnae.h"

#if defined(__AVR_ATmega328P__)
#define RECEIVED USART_RX_vect
#else
#define RECEIVED USART0_RX_vect
#endif

#define CHANNELS 2
#define ROWS 5
#ifndef MEMORY
#define MEMORY 128 /* bytes of samples that may wait for the bridge: 0.3 s. The chips have room for 1024 and 6144 */
#endif
#define FASTEST 500000UL /* millihertz: ten bytes a sample at 115200 baud leave room for frames sent twice */

static const char text[] LEARNAE_FLASH = "avr-node/1.0 count:count:1 voltage:V:0.0048828125";

static volatile uint32_t milliseconds;
static volatile uint8_t received[32], received_end; /* bytes from the bridge; 32 of them take 2.8 ms */
static uint8_t received_start;

static uint8_t memory[MEMORY];
static learnae_node node;
static uint16_t period = 20; /* milliseconds between two samples */
static bool rate_changed;

ISR(TIMER1_COMPA_vect)
{
    milliseconds++;
}

ISR(RECEIVED)
{
    received[received_end++ % sizeof received] = UDR0;
}

static uint32_t now(void)
{
    uint32_t ticks = 0;
    ATOMIC_BLOCK(ATOMIC_RESTORESTATE)
    {
        ticks = milliseconds;
    }
    return ticks;
}

static void put(uint8_t byte)
{
    loop_until_bit_is_set(UCSR0A, UDRE0);
    UDR0 = byte;
}

static void command(uint8_t type, uint32_t value)
{
    if (type == LEARNAE_SET_RATE && value >= 20 && value <= FASTEST) {
        period = (uint16_t)(1000000UL / value);
        rate_changed = true;
    }
}

static void describe(void)
{
    learnae_describe(&node, text, CHANNELS, ROWS, 1000000UL / period);
}

static int16_t voltage(void)
{
    ADCSRA |= _BV(ADSC);
    loop_until_bit_is_clear(ADCSRA, ADSC);
    return (int16_t)ADC;
}

static void set_up(void)
{
    wdt_enable(WDTO_500MS);
    UCSR0A = _BV(U2X0);
    UBRR0 = 16; /* 115200 baud */
    UCSR0C = _BV(UCSZ01) | _BV(UCSZ00);
    UCSR0B = _BV(RXEN0) | _BV(TXEN0) | _BV(RXCIE0);
    TCCR1B = _BV(WGM12) | _BV(CS11);
    OCR1A = 1999; /* 16 MHz / 8 / 2000: a millisecond */
    TIMSK1 = _BV(OCIE1A);
    ADMUX = _BV(REFS0);
    ADCSRA = _BV(ADEN) | _BV(ADPS2) | _BV(ADPS1) | _BV(ADPS0);
    PORTD |= _BV(PD2) | _BV(PD3); /* pull-ups */
    sei();
}

static void watch_button(void)
{
    static bool was_pressed;
    const bool is_pressed = (PIND & _BV(PD2)) == 0;
    if (is_pressed != was_pressed) {
        was_pressed = is_pressed;
        learnae_tell(&node, LEARNAE_EVENT, LEARNAE_LABEL, is_pressed ? "pressed" : "");
    }
}

int main(void)
{
    const uint8_t reason = MCUSR;
    MCUSR = 0;
    set_up();
    learnae_init(&node, memory, sizeof memory, put, command);
    describe();
    if (reason & _BV(WDRF)) {
        learnae_tell(&node, LEARNAE_LOG, LEARNAE_WARNING, "reset by the watchdog");
    }
    int16_t count = 0;
    uint32_t due = now();
    for (;;) {
        wdt_reset();
        learnae_poll(&node, now());
        while (received_start != received_end) {
            learnae_receive(&node, received[received_start++ % sizeof received]);
        }
        if (rate_changed) {
            rate_changed = false;
            describe();
        }
        watch_button();
        if ((int32_t)(now() - due) >= 0) {
            const int16_t values[CHANNELS] = {count++, voltage()};
            learnae_sample(&node, due, values);
            due += period;
        }
        if ((PIND & _BV(PD3)) == 0) {
            for (;;) {
            }
        }
    }
}
