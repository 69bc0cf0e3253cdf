// SPDX-License-Identifier: Apache-2.0
// killat.c - runs a program and kills it (SIGKILL) as it makes its Nth system call.
//
//	killat N PROGRAM [ARG...]
//
// Exit status 137: it was killed; else the program's own: it made fewer calls than that. What the
// program starts is not counted and not killed.
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#define KILLED 137

static int run_child(char **argv)
{
	ptrace(PTRACE_TRACEME, 0, NULL, NULL);
	raise(SIGSTOP);
	execvp(argv[0], argv);
	perror(argv[0]);
	return 127;
}

int main(int argc, char **argv)
{
	long left = argc > 2 ? 2 * strtol(argv[1], NULL, 10) : 0;	/* entry and exit each */
	int status = 0, deliver = 0;
	pid_t pid;

	if (left <= 0)
		return 2;
	pid = fork();
	if (pid == 0)
		return run_child(argv + 2);
	waitpid(pid, &status, 0);
	ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
	for (;;) {
		if (ptrace(PTRACE_SYSCALL, pid, NULL, deliver) < 0 && errno == ESRCH)
			return 2;
		if (waitpid(pid, &status, 0) < 0)
			return 2;
		if (WIFEXITED(status))
			return WEXITSTATUS(status);
		if (WIFSIGNALED(status))
			return KILLED;
		deliver = WSTOPSIG(status) & 0x7f;
		if (WSTOPSIG(status) != (SIGTRAP | 0x80)) {
			deliver = deliver == SIGTRAP ? 0 : deliver;
			continue;
		}
		deliver = 0;
		/* At the entry: the call is not made any more. */
		if ((left -= 1) == 1) {
			kill(pid, SIGKILL);
			waitpid(pid, &status, 0);
			return KILLED;
		}
	}
}
