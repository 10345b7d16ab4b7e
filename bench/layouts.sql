-- Four layouts of the tables compared: what a saga of two steps costs to
-- submit and to finish, in time and WAL.  docs/architecture.md has the figures.
--
--	psql -X -f bench/layouts.sql
--
-- on an empty database of a throw-away server with full_page_writes = off,
-- synchronous_commit = off and autovacuum = off.
--
-- A	one row for each op, as dtm's own store has it
-- B	one wide row, changed in place
-- C	a row that is written once, and a narrow one with the state
-- D	as C, and finished ones leave the state's table (what dtm does)

\set ON_ERROR_STOP 1
create table a_g(id bigint generated always as identity primary key, gid text unique, trans_type "char", status "char", options jsonb, next_time timestamptz, failures int2 default 0, version int default 0, created timestamptz default now(), updated timestamptz, finished timestamptz, reason text);
create index on a_g(next_time) where status in ('P','S','A');
create table a_b(id bigint generated always as identity primary key, gid text, branch_id text, op text, url text, payload bytea, status "char", created timestamptz default now(), updated timestamptz, unique(gid,branch_id,op));

create table b(id bigint generated always as identity primary key, gid text unique, trans_type "char", status "char", next_time timestamptz, failures int2 default 0, version int default 0, created timestamptz default now(), finished timestamptz, branch_status text, reason text, action text[], compensate text[], payload bytea[], options jsonb) with (fillfactor=70);
create index on b(next_time) where next_time is not null;

create table c_r(id bigint generated always as identity primary key, gid text unique, trans_type "char", created timestamptz default now(), action text[], compensate text[], payload bytea[], options jsonb);
create table c_s(id bigint primary key, status "char", next_time timestamptz, failures int2 default 0, version int default 0, branch_status text, finished timestamptz, reason text) with (fillfactor=70);
create index on c_s(next_time) where next_time is not null;

create table d_r(id bigint generated always as identity primary key, gid text unique, trans_type "char", created timestamptz default now(), action text[], compensate text[], payload bytea[], options jsonb);
create table d_s(id bigint primary key, status "char", next_time timestamptz, failures int2 default 0, version int default 0, branch_status text, reason text) with (fillfactor=70);
create index on d_s(next_time);
create table d_f(id bigint primary key, status "char", branch_status text, finished timestamptz, reason text);

create table res(layout text, phase text, us numeric, wal numeric);

create or replace procedure run(lay text, n int, batch int) language plpgsql as $$
declare l0 pg_lsn; t0 timestamptz; i int; ids bigint[]; idx bigint; g text; gids text[];
 u text[] := array['http://bank-a.internal/api/TransOut','http://bank-b.internal/api/TransIn'];
 c text[] := array['http://bank-a.internal/api/TransOutCompensate','http://bank-b.internal/api/TransInCompensate'];
 p bytea[] := array['{"amount": 30, "account": 4711}','{"amount": 30, "account": 4712}']::bytea[];
begin
 l0 := pg_current_wal_insert_lsn(); t0 := clock_timestamp();
 for i in 1..n loop
  g := 'order-' || md5(i::text);
  if lay='A' then
   insert into a_g(gid,trans_type,status,next_time) values (g,'s','S',now());
   insert into a_b(gid,branch_id,op,url,payload,status) values (g,'01','compensate',c[1],p[1],'P'),(g,'01','action',u[1],p[1],'P'),(g,'02','compensate',c[2],p[2],'P'),(g,'02','action',u[2],p[2],'P');
  elsif lay='B' then
   insert into b(gid,trans_type,status,next_time,branch_status,action,compensate,payload) values (g,'s','S',now(),'PPPP',u,c,p);
  elsif lay='C' then
   insert into c_r(gid,trans_type,action,compensate,payload) values (g,'s',u,c,p) returning id into idx;
   insert into c_s(id,status,next_time,branch_status) values (idx,'S',now(),'PPPP');
  elsif lay='D' then
   insert into d_r(gid,trans_type,action,compensate,payload) values (g,'s',u,c,p) returning id into idx;
   insert into d_s(id,status,next_time,branch_status) values (idx,'S',now(),'PPPP');
  end if;
  if i % 10 = 0 then commit; end if;
 end loop;
 insert into res values (lay,'submit', extract(epoch from clock_timestamp()-t0)*1e6/n, (pg_current_wal_insert_lsn()-l0)/n);
 l0 := pg_current_wal_insert_lsn(); t0 := clock_timestamp();
 i := 1;
 while i <= n loop
  ids := array(select generate_series(i, i+batch-1));
  for st in 1..2 loop
  if lay='A' then
   gids := array(select gid from a_g where id = any(ids));
   update a_b set status='S', updated=clock_timestamp() where gid = any(gids) and branch_id = '0'||st and op='action';
   if st=2 then update a_g set status='F', finished=clock_timestamp() where id = any(ids) and status='S'; end if;
  elsif lay='B' then
   if st=1 then update b set branch_status='PSPP', version=version+1 where id=any(ids) and status='S';
   else update b set branch_status='PSPS', version=version+1, status='F', next_time=null, finished=clock_timestamp() where id=any(ids) and status='S'; end if;
  elsif lay='C' then
   if st=1 then update c_s set branch_status='PSPP', version=version+1 where id=any(ids) and status='S';
   else update c_s set branch_status='PSPS', version=version+1, status='F', next_time=null, finished=clock_timestamp() where id=any(ids) and status='S'; end if;
  elsif lay='D' then
   if st=1 then update d_s set branch_status='PSPP', version=version+1 where id=any(ids) and status='S';
   else with x as (delete from d_s where id=any(ids) and status='S' returning id) insert into d_f select id,'F','PSPS',clock_timestamp() from x; end if;
  end if;
  commit;
  end loop;
  i := i + batch;
 end loop;
 insert into res values (lay,'finish', extract(epoch from clock_timestamp()-t0)*1e6/n, (pg_current_wal_insert_lsn()-l0)/n);
end $$;
set enable_seqscan=off;
call run('A',40000,50); call run('B',40000,50); call run('C',40000,50); call run('D',40000,50);
select layout, sum(us) filter (where phase='submit')::int submit_us, sum(us) filter (where phase='finish')::int finish_us, sum(wal) filter (where phase='submit')::int submit_wal, sum(wal) filter (where phase='finish')::int finish_wal, sum(wal)::int wal from res group by 1 order by 1;
select relname, pg_size_pretty(pg_total_relation_size(oid)) from pg_class where relname in ('a_g','a_b','b','c_r','c_s','d_r','d_s','d_f') order by 1;
select relname, n_tup_hot_upd, n_tup_upd from pg_stat_user_tables order by 1;
