#include "board.h"

#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

struct board *board;
struct slot *my_slot;

int board_create(int size)
{
	size_t bytes = sizeof *board + size * sizeof *board->slots;
	struct board *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		return -1;
	memory->size = size;
	board = memory;
	return 0;
}

struct slot *board_find(pid_t pid)
{
	for (int i = 0; i < board->size; i++)
		if (board->slots[i].pid == pid)
			return &board->slots[i];
	return NULL;
}

struct slot *board_take(time_t now)
{
	struct slot *slot = board_find(0);
	if (slot)
		*slot = (struct slot){.idle_since = now};
	return slot;
}

void worker_connected(void)
{
	if (!my_slot)
		return;
	my_slot->state = WORKER_CONNECTED;
	board->connected++;
}

void worker_disconnected(void)
{
	if (!my_slot)
		return;
	my_slot->state = WORKER_IDLE;
	board->connected--;
}

void worker_accepting(int yes)
{
	if (!my_slot)
		return;
	my_slot->state = yes ? WORKER_ACCEPTING : WORKER_IDLE;
	board->accepting += yes ? 1 : -1;
}

int board_connected(void)
{
	return board ? board->connected : 0;
}

int board_accepting(void)
{
	return board ? board->accepting : 0;
}

void board_release(struct slot *slot)
{
	int state = atomic_exchange(&slot->state, WORKER_IDLE);
	if (state == WORKER_CONNECTED)
		board->connected--;
	if (state == WORKER_ACCEPTING)
		board->accepting--;
	slot->pid = 0;
}
