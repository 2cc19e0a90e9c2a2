/* As much of Arduino's interface as the example sketch uses, to see that it compiles. */
#include <stdint.h>

#define LOW 0
#define INPUT_PULLUP 2
#define A0 14
#define A1 15

struct Port {
    void begin(unsigned long baud);
    int available();
    int read();
    unsigned write(uint8_t byte);
};
extern Port Serial;

uint32_t millis();
void pinMode(uint8_t pin, uint8_t mode);
int digitalRead(uint8_t pin);
int analogRead(uint8_t pin);
