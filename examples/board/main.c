/* The application: examples from a sensor, the network, and the class that scores highest. */
#include <stdio.h>

#include "network.h"

static network_raw raw[NETWORK_RAW_SIZE];
static uint8_t in[NETWORK_IN_SIZE];
static uint8_t out[NETWORK_OUT_SIZE];
static const char *const classes[] = {NETWORK_CLASSES};

/* On a board this waits for the driver of the camera or the sensor. Here examples come from a file. */
static int sensor(network_raw *example)
{
    return fread(example, sizeof *example, NETWORK_RAW_SIZE, stdin) == NETWORK_RAW_SIZE;
}

int main(void)
{
    while (sensor(raw)) {
        network_read(raw, in);
        network_run(in, out);
        int best = 0;
        for (int i = 1; i < NETWORK_OUT_SIZE; ++i)
            if (out[i] > out[best])
                best = i;
        printf("%s\n", classes[best]);
    }
    return 0;
}
