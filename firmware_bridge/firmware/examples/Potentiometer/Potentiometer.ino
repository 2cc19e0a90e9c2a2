// Any Arduino board: 50 Hz of the voltages at A0 and A1, and a label for as long as a button at pin 2 is pressed.
//
// Put the folder firmware/ into your Arduino libraries, or: arduino-cli lib install --zip-path.
// Nothing else may print to Serial: the line belongs to the bridge.

#include <learnae.h>

static const char text[] LEARNAE_FLASH = "arduino/1.0 left:V:0.0048828125 right:V:0.0048828125";
static const uint8_t ROWS = 5;                // samples a frame: a tenth of a second
static const uint32_t FASTEST = 500000;       // millihertz

static uint8_t memory[128];                   // what is not confirmed yet; more on boards that have it
static learnae_node node;
static uint32_t period = 20;                  // milliseconds
static uint32_t due;
static bool rateChanged;
static bool wasPressed;

static void put(uint8_t byte) {
  Serial.write(byte);
}

static void onCommand(uint8_t type, uint32_t value) {
  if (type == LEARNAE_SET_RATE && value >= 20 && value <= FASTEST) {
    period = 1000000UL / value;
    rateChanged = true;
  }
}

static void describe() {
  learnae_describe(&node, text, 2, ROWS, 1000000UL / period);
}

void setup() {
  Serial.begin(115200);
  pinMode(2, INPUT_PULLUP);
  learnae_init(&node, memory, sizeof memory, put, onCommand);
  describe();
  due = millis();
}

void loop() {
  learnae_poll(&node, millis());
  while (Serial.available() > 0) {
    learnae_receive(&node, (uint8_t)Serial.read());
  }
  if (rateChanged) {
    rateChanged = false;
    describe();
  }
  const bool isPressed = digitalRead(2) == LOW;
  if (isPressed != wasPressed) {
    wasPressed = isPressed;
    learnae_tell(&node, LEARNAE_EVENT, LEARNAE_LABEL, isPressed ? "pressed" : "");
  }
  if ((int32_t)(millis() - due) >= 0) {
    const learnae_value values[2] = {(learnae_value)analogRead(A0), (learnae_value)analogRead(A1)};
    learnae_sample(&node, due, values);
    due += period;
  }
}
