/* A Leadline client in C: grey noise in, depth out. Prints the mean of the map.
 *
 *   cc client.c -lzmq -o client && ./client tcp://127.0.0.1:5570 64 48
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__has_include) && __has_include(<zmq.h>)
#include <zmq.h>
#else /* what is used of it, for machines with the library but without its header */
typedef struct { unsigned char _[64]; } __attribute__((aligned(8))) zmq_msg_t;
void *zmq_ctx_new(void);
int zmq_ctx_term(void *);
void *zmq_socket(void *, int);
int zmq_close(void *);
int zmq_setsockopt(void *, int, const void *, size_t);
int zmq_connect(void *, const char *);
int zmq_send(void *, const void *, size_t, int);
int zmq_msg_init(zmq_msg_t *);
int zmq_msg_recv(zmq_msg_t *, void *, int);
int zmq_msg_more(const zmq_msg_t *);
int zmq_msg_close(zmq_msg_t *);
void *zmq_msg_data(zmq_msg_t *);
size_t zmq_msg_size(const zmq_msg_t *);
#define ZMQ_DEALER 5
#define ZMQ_LINGER 17
#define ZMQ_RCVTIMEO 27
#define ZMQ_SNDMORE 2
#endif

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    int width = atoi(argv[2]), height = atoi(argv[3]), zero = 0, patience_ms = 20000;
    size_t pixels = (size_t)width * height;
    unsigned char *image = malloc(pixels);
    for (size_t i = 0; i < pixels; i++)
        image[i] = (unsigned char)(i * 7 % 256);

    void *context = zmq_ctx_new(), *socket = zmq_socket(context, ZMQ_DEALER);
    zmq_setsockopt(socket, ZMQ_LINGER, &zero, sizeof zero);
    zmq_setsockopt(socket, ZMQ_RCVTIMEO, &patience_ms, sizeof patience_ms);
    zmq_connect(socket, argv[1]);

    char header[200];
    int length = snprintf(header, sizeof header,
        "{\"op\":\"predict\",\"id\":\"1\",\"image\":{\"encoding\":\"raw\",\"shape\":[%d,%d,1]}}", height, width);
    zmq_send(socket, "LEADLINE1", 9, ZMQ_SNDMORE);
    zmq_send(socket, header, (size_t)length, ZMQ_SNDMORE);
    zmq_send(socket, image, pixels, 0);

    int status = 1, waiting = 1;
    while (waiting) { /* any number of progress messages, then one result or error */
        zmq_msg_t frame[4];
        int frames = 0, more = 1;
        while (more && frames < 4) {
            zmq_msg_init(&frame[frames]);
            if (zmq_msg_recv(&frame[frames], socket, 0) < 0)
                return 3;
            more = zmq_msg_more(&frame[frames]);
            frames++;
        }
        if (frames == 3 && zmq_msg_size(&frame[2]) == pixels * sizeof(float)) {
            const float *depth = zmq_msg_data(&frame[2]);
            double sum = 0;
            for (size_t i = 0; i < pixels; i++)
                sum += depth[i];
            printf("%.6f\n", sum / (double)pixels);
            status = waiting = 0;
        } else if (strstr(zmq_msg_data(&frame[1]), "\"op\":\"error\"") != NULL) {
            fprintf(stderr, "%.*s\n", (int)zmq_msg_size(&frame[1]), (const char *)zmq_msg_data(&frame[1]));
            waiting = 0;
        }
        for (int i = 0; i < frames; i++)
            zmq_msg_close(&frame[i]);
    }
    zmq_close(socket);
    zmq_ctx_term(context);
    free(image);
    return status;
}
