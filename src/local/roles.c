/*
 * roles.c
 *		The roles that local branches are called as, in the order of their turns,
 *		and the tasks of each that wait.
 */
#include "private.h"

#include "clock.h"

#include "utils/memutils.h"

void
roles_init(LocalRoles *roles, MemoryContext context)
{
	roles->context = context;
	dlist_init(&roles->list);
	roles->nwaiting = 0;
	roles->expires = 0;
}

static LocalRole *
find(const LocalRoles *roles, Oid role)
{
	dlist_iter	iter;

	dlist_foreach(iter, (dlist_head *) &roles->list)
	{
		LocalRole  *found = dlist_container(LocalRole, node, iter.cur);

		if (found->role == role)
			return found;
	}
	return NULL;
}

void
roles_add(LocalRoles *roles, LocalTask *task)
{
	LocalRole  *role = find(roles, task->role);

	if (role == NULL)
	{
		role = MemoryContextAllocZero(roles->context, sizeof(LocalRole));
		role->role = task->role;
		dlist_init(&role->waiting);
		/* it has not been served for long */
		dlist_push_head(&roles->list, &role->node);
	}
	dlist_push_tail(&role->waiting, &task->node);
	role->nwaiting++;
	roles->nwaiting++;
	if (task->expires != 0 && (roles->expires == 0 || task->expires < roles->expires))
		roles->expires = task->expires;
}

void
roles_remove(LocalRoles *roles, LocalTask *task)
{
	dlist_delete(&task->node);
	find(roles, task->role)->nwaiting--;
	roles->nwaiting--;
}

LocalTask *
roles_expired(LocalRoles *roles)
{
	int64		now = clock_monotonic();
	int64		next = 0;
	dlist_iter	i;
	dlist_iter	j;

	/* all are looked at once something is due only */
	if (roles->expires == 0 || roles->expires > now)
		return NULL;
	dlist_foreach(i, &roles->list)
		dlist_foreach(j, &dlist_container(LocalRole, node, i.cur)->waiting)
	{
		LocalTask  *task = dlist_container(LocalTask, node, j.cur);

		if (task->expires != 0 && task->expires <= now)
			return task;
		if (task->expires != 0 && (next == 0 || task->expires < next))
			next = task->expires;
	}
	roles->expires = next;
	return NULL;
}

int
roles_waiting(const LocalRoles *roles, Oid role)
{
	const LocalRole *found = find(roles, role);

	return found != NULL ? found->nwaiting : 0;
}

void
roles_served(LocalRoles *roles, LocalRole *role)
{
	dlist_delete(&role->node);
	dlist_push_tail(&roles->list, &role->node);
}

void
roles_forget(LocalRoles *roles, LocalRole *role)
{
	dlist_delete(&role->node);
	pfree(role);
}
