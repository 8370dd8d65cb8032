/* Puts an eMMC on the SD bus of the device "emmc-host" of a QEMU that has the device but lets only
   boards of its own have one. The functions are those that QEMU exports for its modules. */
#include <stdbool.h>
#include <stdint.h>

struct notifier {
    void (*notify)(struct notifier *, void *);
    void *next, **previous;
};

extern void *error_fatal;
void qemu_add_machine_init_done_notifier(struct notifier *);
void *object_resolve_path(const char *, bool *);
void *qdev_get_child_bus(void *, const char *);
void *qdev_new(const char *);
void *blk_by_name(const char *);
bool qdev_prop_set_drive_err(void *, const char *, void *, void **);
void qdev_prop_set_uint64(void *, const char *, uint64_t);
bool qdev_realize_and_unref(void *, void *, void **);

static void add(struct notifier *self, void *data)
{
    void *host = object_resolve_path("/machine/peripheral/emmc-host", 0);
    void *card = qdev_new("emmc");
    qdev_prop_set_drive_err(card, "drive", blk_by_name("emmc"), &error_fatal);
    qdev_prop_set_uint64(card, "boot-partition-size", 1 << 20);
    qdev_realize_and_unref(card, qdev_get_child_bus(host, "sd-bus"), &error_fatal);
}

__attribute__((constructor)) static void begin(void)
{
    static struct notifier notifier = { .notify = add };
    qemu_add_machine_init_done_notifier(&notifier);
}
