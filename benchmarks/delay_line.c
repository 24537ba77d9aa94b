/* A delay line between two network namespaces, at the level of packets: TCP stays end to end.
 *
 *     delay_line NAMESPACE NAMESPACE DELAY_US BITS_A_SECOND
 *
 * In each namespace a device `line` is made (TUN, with the offloads that let segments of 64 KB pass);
 * a packet that goes into one comes out of the other after DELAY_US. With BITS_A_SECOND other than 0
 * packets go one after another at that rate, and are dropped where 50 ms of them wait. It says
 * "ready" once the devices are there, ends when its standard input does, and then tells the CPU
 * seconds that it took.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { SLOTS = 1 << 13, LARGEST = 66 * 1024, QUEUE_NS = 50 * 1000 * 1000 };

struct packet {
    int64_t due;
    uint32_t size;
    unsigned char data[LARGEST];
};

struct way {
    int from, to;
    int64_t delay, free_at;
    double ns_a_byte;
    struct packet *ring;
    unsigned long in, out;
    pthread_mutex_t lock;
    pthread_cond_t changed;
};

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int device(const char *namespace) {
    char path[256];
    snprintf(path, sizeof path, "/run/netns/%s", namespace);
    int space = open(path, O_RDONLY | O_CLOEXEC);
    if (space < 0 || setns(space, CLONE_NEWNET) != 0) fail(path);
    close(space);
    int file = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    if (file < 0) fail("/dev/net/tun");
    struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR};
    strcpy(request.ifr_name, "line");
    if (ioctl(file, TUNSETIFF, &request) != 0) fail("TUNSETIFF");
    if (ioctl(file, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6) != 0) fail("TUNSETOFFLOAD");
    return file;
}

static void *take(void *argument) {
    struct way *way = argument;
    for (;;) {
        struct packet *packet = &way->ring[way->in % SLOTS];
        ssize_t size = read(way->from, packet->data, LARGEST);
        if (size <= 0) continue;
        int64_t at = now();
        if (way->free_at < at) way->free_at = at;
        if (way->ns_a_byte > 0 && way->free_at - at > QUEUE_NS) continue; /* dropped */
        way->free_at += (int64_t)(size * way->ns_a_byte);
        packet->due = way->free_at + way->delay;
        packet->size = (uint32_t)size;
        pthread_mutex_lock(&way->lock);
        while (way->in - way->out >= SLOTS - 1) pthread_cond_wait(&way->changed, &way->lock);
        way->in++;
        pthread_cond_broadcast(&way->changed);
        pthread_mutex_unlock(&way->lock);
    }
}

static void *give(void *argument) {
    struct way *way = argument;
    for (;;) {
        pthread_mutex_lock(&way->lock);
        while (way->in == way->out) pthread_cond_wait(&way->changed, &way->lock);
        pthread_mutex_unlock(&way->lock);
        struct packet *packet = &way->ring[way->out % SLOTS];
        if (packet->due > now()) {
            struct timespec t = {packet->due / 1000000000LL, packet->due % 1000000000LL};
            clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
        }
        if (write(way->to, packet->data, packet->size) < 0) { /* as on any line, it is lost */ }
        pthread_mutex_lock(&way->lock);
        way->out++;
        pthread_cond_broadcast(&way->changed);
        pthread_mutex_unlock(&way->lock);
    }
}

int main(int count, char **arguments) {
    if (count != 5) return 2;
    int ends[2] = {device(arguments[1]), device(arguments[2])};
    int64_t delay = atoll(arguments[3]) * 1000;
    double rate = atof(arguments[4]);
    static struct way ways[2];
    for (int i = 0; i < 2; i++) {
        ways[i].from = ends[i];
        ways[i].to = ends[1 - i];
        ways[i].delay = delay;
        ways[i].ns_a_byte = rate > 0 ? 8e9 / rate : 0;
        ways[i].ring = mmap(NULL, sizeof(struct packet) * SLOTS, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (ways[i].ring == MAP_FAILED) fail("mmap");
        pthread_mutex_init(&ways[i].lock, NULL);
        pthread_cond_init(&ways[i].changed, NULL);
        pthread_t thread;
        pthread_create(&thread, NULL, take, &ways[i]);
        pthread_create(&thread, NULL, give, &ways[i]);
    }
    puts("ready");
    fflush(stdout);
    char byte;
    while (read(0, &byte, 1) > 0) {}
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    printf("%.2f\n", used.ru_utime.tv_sec + used.ru_stime.tv_sec +
                         (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6);
    return 0;
}
