/*
 * What slices would gain: x264 as a session's encoder sets it, fed at 60 Hz with recorded frames, its
 * slices taken as they are done (`nalu_process`). For each way to cut a picture: when the first and
 * the last slice are ready, what the picture weighs, and when its last packet would leave and arrive.
 *
 *   slices DIR [FRAMES]      DIR: raw BGRx frames of 1280 by 720, as `edge-worker --record-frames` writes them
 *
 * Built and run by slices.sh. Times count from the call of the encoder. What is modelled and not
 * measured: packets leave as core/stream/src/pacing.rs lets them, from an empty bucket, and go over
 * a line that is idle when the picture begins.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <x264.h>

enum { WIDTH = 1280, HEIGHT = 720, HZ = 60, KBPS = 8000 };
enum { FRAMES_MAX = 120, WARM_UP = 60, SLICES_MAX = 64, MEASURED_MAX = 10000 };
/* Payload of a packet, and what it weighs beside that: RTP and SRTP 40, UDP and IP 28. */
enum { PAYLOAD = 1160, OVERHEAD = 68 };
/* Of core/stream/src/pacing.rs: the least burst, and the pace of a path that was seen full. */
#define BURST_MIN 12000.0
#define PACE_LIMITED (2.0 * KBPS * 1.08)
/* A free path: 2.5 times the most that may be sent, and a mean frame of that at once. */
#define KBPS_MOST (20000.0 * 1.08)
#define PACE_FREE (2.5 * KBPS_MOST)
#define BURST_FREE (KBPS_MOST * 125.0 / HZ)

struct way {
    const char *name;
    int threads, slices, mbs_max, callback, pinned;
};

/* A quarter of the picture. */
#define QUARTER (WIDTH / 16 * (HEIGHT / 16) / 4)
static const struct way WAYS[] = {
    {"1 thread, whole", 1, 1, 0, 0, 0},
    {"1 thread, 2 slices", 1, 2, 0, 1, 0},
    {"1 thread, 4 slices", 1, 4, 0, 1, 0},
    {"2 threads, whole (the product)", 2, 0, 0, 0, 0},
    {"2 threads, their 2 slices", 2, 0, 0, 1, 0},
    {"2 threads, 4 slices", 2, 0, QUARTER, 1, 0},
    {"2 threads held apart, whole", 2, 0, 0, 0, 1},
    {"2 threads held apart, their 2 slices", 2, 0, 0, 1, 1},
    {"2 threads held apart, 4 slices", 2, 0, QUARTER, 1, 1},
};

struct slice {
    double ready_ms;
    int bytes;
};

/* The slices of the picture in the encoder, in the order in which they are done. */
static struct {
    pthread_mutex_t lock;
    double begun_ms;
    int count;
    struct slice slices[SLICES_MAX];
} picture = {.lock = PTHREAD_MUTEX_INITIALIZER};

static double now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

static void die(const char *what) {
    fprintf(stderr, "%s: %s\n", what, errno ? strerror(errno) : "failed");
    exit(1);
}

static void slice_done(int bytes) {
    pthread_mutex_lock(&picture.lock);
    if (picture.count < SLICES_MAX) {
        picture.slices[picture.count++] = (struct slice){now_ms() - picture.begun_ms, bytes};
    }
    pthread_mutex_unlock(&picture.lock);
}

/* Called by x264 from whichever thread has finished a NAL unit. */
static void nal_done(x264_t *encoder, x264_nal_t *nal, void *opaque) {
    (void)opaque;
    uint8_t *buffer = malloc(nal->i_payload * 3 / 2 + 5 + 64);
    if (!buffer) die("memory");
    x264_nal_encode(encoder, buffer, nal);
    if (nal->i_type == NAL_SLICE || nal->i_type == NAL_SLICE_IDR) slice_done(nal->i_payload);
    free(buffer);
}

/* Gives each of x264's threads a core of its own. A kernel with idle cores does that by itself, but
 * some virtual machines put threads that wake for a millisecond on the core that woke them. */
static void hold_apart(void) {
    DIR *tasks = opendir("/proc/self/task");
    if (!tasks) die("/proc/self/task");
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    int next = 0;
    for (struct dirent *task; (task = readdir(tasks));) {
        pid_t thread = atoi(task->d_name);
        if (thread == 0 || thread == getpid()) continue;
        cpu_set_t core;
        CPU_ZERO(&core);
        CPU_SET(next++ % cores, &core);
        if (sched_setaffinity(thread, sizeof core, &core) != 0) die("affinity");
    }
    closedir(tasks);
}

/* As edge-node/worker/src/encode/ladder/software.rs sets x264enc. */
static x264_t *start(const struct way *way) {
    x264_param_t p;
    if (x264_param_default_preset(&p, "ultrafast", "zerolatency") < 0) die("preset");
    p.i_log_level = X264_LOG_ERROR;
    p.i_width = WIDTH;
    p.i_height = HEIGHT;
    p.i_csp = X264_CSP_I420;
    p.i_fps_num = HZ;
    p.i_fps_den = 1;
    p.i_threads = way->threads;
    p.b_sliced_threads = way->threads > 1;
    p.i_slice_count = way->slices;
    p.i_slice_max_mbs = way->mbs_max;
    p.i_bframe = 0;
    p.i_frame_reference = 1;
    p.b_cabac = 0;
    p.analyse.b_transform_8x8 = 0;
    p.rc.i_lookahead = 0;
    p.i_sync_lookahead = 0;
    p.rc.b_mb_tree = 0;
    p.i_keyint_max = X264_KEYINT_MAX_INFINITE;
    p.i_scenecut_threshold = 0;
    p.b_annexb = 1;
    p.b_aud = 0;
    p.b_repeat_headers = 1;
    p.rc.i_rc_method = X264_RC_ABR;
    p.rc.i_bitrate = KBPS * 118 / 100;
    p.rc.i_vbv_max_bitrate = p.rc.i_bitrate;
    p.rc.i_vbv_buffer_size = p.rc.i_bitrate * (2500 / HZ) / 1000;
    if (way->callback) p.nalu_process = nal_done;
    x264_t *encoder = x264_encoder_open(&p);
    if (!encoder) die("encoder");
    if (way->pinned) hold_apart();
    return encoder;
}

/* BGRx to I420, BT.709 limited; not timed. */
static void convert(const uint8_t *bgrx, uint8_t *i420) {
    uint8_t *y = i420, *u = y + WIDTH * HEIGHT, *v = u + WIDTH * HEIGHT / 4;
    for (int row = 0; row < HEIGHT; row++) {
        for (int column = 0; column < WIDTH; column++) {
            const uint8_t *at = bgrx + 4 * (row * WIDTH + column);
            int b = at[0], g = at[1], r = at[2];
            y[row * WIDTH + column] = 16 + (47 * r + 157 * g + 16 * b) / 256;
            if (row % 2 == 0 && column % 2 == 0) {
                int i = row / 2 * (WIDTH / 2) + column / 2;
                u[i] = 128 + (-26 * r - 86 * g + 112 * b) / 256;
                v[i] = 128 + (112 * r - 102 * g - 10 * b) / 256;
            }
        }
    }
}

static int is_frame(const struct dirent *entry) {
    return strstr(entry->d_name, ".bgrx") != NULL;
}

static int load(const char *dir, uint8_t **frames) {
    struct dirent **names;
    int found = scandir(dir, &names, is_frame, alphasort);
    if (found < 0) die(dir);
    uint8_t *bgrx = malloc(WIDTH * HEIGHT * 4);
    int count = 0;
    for (int i = 0; i < found && count < FRAMES_MAX; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", dir, names[i]->d_name);
        FILE *file = fopen(path, "rb");
        if (!file || fread(bgrx, WIDTH * HEIGHT * 4, 1, file) != 1) die(path);
        fclose(file);
        frames[count] = malloc(WIDTH * HEIGHT * 3 / 2);
        if (!frames[count]) die("memory");
        convert(bgrx, frames[count++]);
    }
    free(bgrx);
    return count;
}

/* When the last packet has left at a pace, from an empty bucket, and arrived over an idle line. */
static void send_paced(double pace_kbps, double burst, double line_kbps, double *left, double *arrived) {
    double level = 0, at = 0, line_free = 0;
    double drain = pace_kbps / 8.0; /* bytes a millisecond */
    double depth = burst > BURST_MIN ? burst : BURST_MIN;
    for (int i = 0; i < picture.count; i++) {
        int bytes = picture.slices[i].bytes;
        if (picture.slices[i].ready_ms > at) {
            level -= (picture.slices[i].ready_ms - at) * drain;
            at = picture.slices[i].ready_ms;
            if (level < 0) level = 0;
        }
        while (bytes > 0) {
            int wire = (bytes < PAYLOAD ? bytes : PAYLOAD) + OVERHEAD;
            if (level >= depth) {
                at += (level - depth) / drain;
                level = depth;
            }
            level += wire;
            bytes -= PAYLOAD;
            line_free = (line_free > at ? line_free : at) + wire * 8.0 / line_kbps;
        }
    }
    *left = at;
    *arrived = line_free;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* p50 and p99, nearest rank. */
static void print_spread(double *values, int count) {
    qsort(values, count, sizeof *values, ascending);
    printf(" %.2f / %.2f |", values[(count * 50 + 99) / 100 - 1], values[(count * 99 + 99) / 100 - 1]);
}

static void wait_until(double ms) {
    struct timespec t = {.tv_sec = ms / 1e3, .tv_nsec = (ms - (int64_t)(ms / 1e3) * 1e3) * 1e6};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

static void measure(const struct way *way, uint8_t **frames, int recorded, int measured) {
    enum { FIRST, LAST, LEFT_FREE, LEFT_LIMITED, LINE_100, LINE_20, COLUMNS };
    static double columns[COLUMNS][MEASURED_MAX];
    x264_t *encoder = start(way);
    double next = now_ms(), bytes = 0;
    int slices = 0;
    for (int n = 0; n < WARM_UP + measured; n++, next += 1e3 / HZ) {
        x264_picture_t in, out;
        x264_picture_init(&in);
        in.img.i_csp = X264_CSP_I420;
        in.img.i_plane = 3;
        /* To and fro, so that no cut comes between the last frame and the first. */
        int turn = n % (2 * recorded);
        uint8_t *frame = frames[turn < recorded ? turn : 2 * recorded - 1 - turn];
        in.img.plane[0] = frame;
        in.img.plane[1] = frame + WIDTH * HEIGHT;
        in.img.plane[2] = frame + WIDTH * HEIGHT * 5 / 4;
        in.img.i_stride[0] = WIDTH;
        in.img.i_stride[1] = in.img.i_stride[2] = WIDTH / 2;
        in.i_pts = n;
        wait_until(next);
        x264_nal_t *nals;
        int count;
        picture.count = 0;
        picture.begun_ms = now_ms();
        int size = x264_encoder_encode(encoder, &nals, &count, &in, &out);
        if (size < 0) die("encode");
        if (!way->callback) slice_done(size);
        if (n < WARM_UP) continue;
        int at = n - WARM_UP;
        double unused;
        columns[FIRST][at] = picture.slices[0].ready_ms;
        columns[LAST][at] = picture.slices[picture.count - 1].ready_ms;
        send_paced(PACE_FREE, BURST_FREE, 1e6, &columns[LEFT_FREE][at], &unused);
        send_paced(PACE_LIMITED, 0, 1e6, &columns[LEFT_LIMITED][at], &unused);
        send_paced(PACE_FREE, BURST_FREE, 1e5, &unused, &columns[LINE_100][at]);
        send_paced(PACE_FREE, BURST_FREE, 2e4, &unused, &columns[LINE_20][at]);
        for (int i = 0; i < picture.count; i++) bytes += picture.slices[i].bytes;
        slices += picture.count;
    }
    x264_encoder_close(encoder);
    printf("| %s | %.0f |", way->name, (double)slices / measured);
    for (int column = 0; column < COLUMNS; column++) print_spread(columns[column], measured);
    printf(" %.0f |\n", bytes / measured);
    fflush(stdout);
}

int main(int argc, char **argv) {
    static uint8_t *frames[FRAMES_MAX];
    int measured = argc > 2 ? atoi(argv[2]) : 900;
    if (argc < 2 || measured < 1 || measured > MEASURED_MAX) {
        fprintf(stderr, "slices DIR [FRAMES]\n");
        return 64;
    }
    int recorded = load(argv[1], frames);
    if (recorded < 2) die("too few frames");
    printf("| way | pieces | first ready | last ready | last packet left, free path | the same, path seen full "
           "| arrived over 100 Mbit/s | over 20 Mbit/s | bytes a picture |\n|---|---|---|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < sizeof WAYS / sizeof *WAYS; i++) measure(&WAYS[i], frames, recorded, measured);
    return 0;
}
