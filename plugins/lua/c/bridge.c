/* The entry points that Rust calls, and the one through which Lua calls Rust.
 *
 * A Lua error is a longjmp (in WebAssembly: an exception) that must not cross a Rust frame. So every entry point that touches Lua runs in
 * lua_cpcall, and a Rust function gives its error back as a value, which `call_host` raises when Rust's frame is gone. */
#include "bridge.h"

#include <stdlib.h>
#include <string.h>

#include "codec.h"
#include "lauxlib.h"
#include "lstate.h"

struct Bridge {
  /* First these two: Lua reads them through the allocator's pointer (patches/luaconf.h.patch). */
  uint64_t seed;
  size_t cap;
  size_t used;
  lua_State *L;
  void *host;
  BridgeCallback callback;
  /* Arguments to Rust, and results for it. */
  Bytes args, result;
  /* How many results of the last call lie on the stack. */
  int results;
};

/* Counts what Lua holds, and refuses beyond the cap: Lua then raises `not enough memory`, which a pcall can catch. Without it the instance's own
   limit would end the attempt. */
static void *allocate(void *ud, void *block, size_t old, size_t size) {
  Bridge *bridge = (Bridge *)ud;
  void *moved;
  if (size == 0) {
    if (block != NULL) bridge->used -= old;
    free(block);
    return NULL;
  }
  if (size > old && size - old > bridge->cap - bridge->used) return NULL;
  moved = realloc(block, size);
  if (moved != NULL) bridge->used += size - old;
  return moved;
}

/* Lua stands outside of every protected call: cannot happen, because every entry point uses lua_cpcall. */
static int panic(lua_State *L) {
  (void)L;
  abort();
}

static const char *const HOST_TABLE = "tenterhook.host";
static const char *const ENVIRONMENT = "tenterhook.environment";

/* Of what the libraries and the prelude leave, next to nothing could be collected: a cycle while they are made would only walk it. So collection
   stops meanwhile, and begins again when as much has been added, or half of what the cap leaves. */
static void collect_later(lua_State *L, size_t cap) {
  size_t held = G(L)->totalbytes;
  size_t left = cap > held ? (cap - held) / 2 : 0;
  G(L)->GCthreshold = held + (held < left ? held : left);
}

static int open_protected(lua_State *L) {
  Bridge *bridge = (Bridge *)lua_touserdata(L, 1);
  lua_gc(L, LUA_GCSTOP, 0);
  bridge_open_libraries(L);
  lua_newtable(L);
  bridge_open_dialect(L);
  bridge_seed_random(L, bridge->seed);
  lua_setfield(L, LUA_REGISTRYINDEX, HOST_TABLE);
  collect_later(L, bridge->cap);
  return 0;
}

Bridge *bridge_open(size_t cap, uint64_t seed, void *host, BridgeCallback callback) {
  Bridge *bridge = (Bridge *)calloc(1, sizeof(Bridge));
  if (bridge == NULL) return NULL;
  bridge->seed = seed;
  bridge->cap = cap;
  bridge->host = host;
  bridge->callback = callback;
  bridge->L = lua_newstate(allocate, bridge);
  if (bridge->L == NULL) {
    free(bridge);
    return NULL;
  }
  lua_atpanic(bridge->L, panic);
  if (lua_cpcall(bridge->L, open_protected, bridge) != 0) {
    bridge_close(bridge);
    return NULL;
  }
  return bridge;
}

void bridge_close(Bridge *bridge) {
  lua_close(bridge->L);
  free(bridge->args.at);
  free(bridge->result.at);
  free(bridge);
}

void bridge_reseed(Bridge *bridge, uint64_t seed) {
  bridge_seed_random(bridge->L, seed);
}

size_t bridge_used(const Bridge *bridge) {
  return bridge->used;
}

/* What Lua code calls in place of a Rust function. Upvalues: the bridge, the index. */
static int call_host(lua_State *L) {
  Bridge *bridge = (Bridge *)lua_touserdata(L, lua_upvalueindex(1));
  uint32_t index = (uint32_t)lua_tonumber(L, lua_upvalueindex(2));
  const uint8_t *reply = NULL;
  size_t reply_len = 0;
  int count = lua_gettop(L), i;
  bridge->args.len = 0;
  for (i = 1; i <= count; i++) codec_encode(L, &bridge->args, i);
  lua_settop(L, 0);
  i = bridge->callback(bridge->host, index, bridge->args.at, bridge->args.len, (uint32_t)count, &reply, &reply_len);
  if (i < 0) {
    luaL_where(L, 1);
    lua_pushlstring(L, (const char *)reply, reply_len);
    lua_concat(L, 2);
    return lua_error(L);
  }
  codec_decode(L, reply, reply_len, (uint32_t)i);
  return i;
}

typedef struct Call {
  Bridge *bridge;
  const char *name;
  const char *text;
  size_t text_len;
  uint32_t index;
  const uint8_t *args;
  size_t args_len;
  uint32_t count;
  int sandboxed;
  int *ref;
  int *type;
} Call;

/* Runs `body` in protected mode on an empty stack. An error's value stays there for bridge_error. */
static int guarded(Bridge *bridge, lua_CFunction body, Call *call) {
  bridge->results = 0;
  lua_settop(bridge->L, 0);
  call->bridge = bridge;
  return lua_cpcall(bridge->L, body, call);
}

static int register_protected(lua_State *L) {
  Call *call = (Call *)lua_touserdata(L, 1);
  lua_getfield(L, LUA_REGISTRYINDEX, HOST_TABLE);
  lua_pushlstring(L, call->text, call->text_len);
  lua_pushlightuserdata(L, call->bridge);
  lua_pushnumber(L, (lua_Number)call->index);
  lua_pushcclosure(L, call_host, 2);
  lua_rawset(L, -3);
  return 0;
}

int bridge_register(Bridge *bridge, const char *name, size_t name_len, uint32_t index) {
  Call call = {0};
  call.text = name;
  call.text_len = name_len;
  call.index = index;
  return guarded(bridge, register_protected, &call);
}

static int load_protected(lua_State *L) {
  Call *call = (Call *)lua_touserdata(L, 1);
  *call->type = luaL_loadbuffer(L, call->text, call->text_len, call->name);
  if (*call->type != 0) return lua_error(L);
  if (call->sandboxed) {
    lua_getfield(L, LUA_REGISTRYINDEX, ENVIRONMENT);
    if (lua_isfunction(L, -1)) {
      lua_call(L, 0, 1);
      lua_setfenv(L, -2);
    } else {
      lua_pop(L, 1);
    }
  }
  *call->ref = luaL_ref(L, LUA_REGISTRYINDEX);
  return 0;
}

int bridge_load(Bridge *bridge, const char *name, const char *text, size_t text_len, int sandboxed, int *ref) {
  Call call = {0};
  int loaded = 0, status;
  call.name = name;
  call.text = text;
  call.text_len = text_len;
  call.sandboxed = sandboxed;
  call.ref = ref;
  call.type = &loaded;
  status = guarded(bridge, load_protected, &call);
  /* Raised again, a syntax error would count as one of run time. */
  return loaded != 0 ? loaded : status;
}

static int prelude_protected(lua_State *L) {
  Call *call = (Call *)lua_touserdata(L, 1);
  lua_gc(L, LUA_GCSTOP, 0);
  lua_rawgeti(L, LUA_REGISTRYINDEX, *call->ref);
  lua_getfield(L, LUA_REGISTRYINDEX, HOST_TABLE);
  lua_pushlstring(L, call->text, call->text_len);
  lua_call(L, 2, 1);
  lua_setfield(L, LUA_REGISTRYINDEX, ENVIRONMENT);
  collect_later(L, call->bridge->cap);
  return 0;
}

int bridge_prelude(Bridge *bridge, int ref, const char *mode, size_t mode_len) {
  Call call = {0};
  call.text = mode;
  call.text_len = mode_len;
  call.ref = &ref;
  return guarded(bridge, prelude_protected, &call);
}

/* The results are handed over in a table, because lua_cpcall drops what a function returns. */
static const char *const RESULTS = "tenterhook.results";

static int call_protected(lua_State *L) {
  Call *call = (Call *)lua_touserdata(L, 1);
  int first, i, count;
  lua_rawgeti(L, LUA_REGISTRYINDEX, *call->ref);
  first = lua_gettop(L);
  codec_decode(L, call->args, call->args_len, call->count);
  lua_call(L, (int)call->count, LUA_MULTRET);
  count = lua_gettop(L) - first + 1;
  lua_createtable(L, count, 0);
  lua_insert(L, first);
  for (i = count; i >= 1; i--) lua_rawseti(L, first, i);
  lua_setfield(L, LUA_REGISTRYINDEX, RESULTS);
  call->bridge->results = count;
  return 0;
}

int bridge_call(Bridge *bridge, int ref, const uint8_t *args, size_t args_len, uint32_t count, int *results) {
  Call call = {0};
  int status;
  call.ref = &ref;
  call.args = args;
  call.args_len = args_len;
  call.count = count;
  status = guarded(bridge, call_protected, &call);
  *results = bridge->results;
  return status;
}

static void push_result(lua_State *L, const Call *call) {
  lua_getfield(L, LUA_REGISTRYINDEX, RESULTS);
  lua_rawgeti(L, -1, (int)call->index);
}

static int result_protected(lua_State *L) {
  Call *call = (Call *)lua_touserdata(L, 1);
  push_result(L, call);
  codec_encode(L, &call->bridge->result, lua_gettop(L));
  return 0;
}

int bridge_result(Bridge *bridge, int index, const uint8_t **bytes, size_t *len) {
  Call call = {0};
  int status, results = bridge->results;
  call.index = (uint32_t)index;
  bridge->result.len = 0;
  status = guarded(bridge, result_protected, &call);
  bridge->results = results;
  *bytes = bridge->result.at;
  *len = bridge->result.len;
  return status;
}

static int keep_protected(lua_State *L) {
  Call *call = (Call *)lua_touserdata(L, 1);
  push_result(L, call);
  *call->type = lua_type(L, -1);
  *call->ref = luaL_ref(L, LUA_REGISTRYINDEX);
  return 0;
}

int bridge_keep(Bridge *bridge, int index, int *ref, int *type) {
  Call call = {0};
  int status, results = bridge->results;
  call.index = (uint32_t)index;
  call.ref = ref;
  call.type = type;
  status = guarded(bridge, keep_protected, &call);
  bridge->results = results;
  return status;
}

static int rename_protected(lua_State *L) {
  Call *call = (Call *)lua_touserdata(L, 1);
  lua_rawgeti(L, LUA_REGISTRYINDEX, *call->ref);
  lua_pushlstring(L, call->text, call->text_len);
  bridge_rename_top(L);
  return 0;
}

int bridge_rename(Bridge *bridge, int ref, const char *name, size_t name_len) {
  Call call = {0};
  call.ref = &ref;
  call.text = name;
  call.text_len = name_len;
  return guarded(bridge, rename_protected, &call);
}

static int forget_protected(lua_State *L) {
  Call *call = (Call *)lua_touserdata(L, 1);
  luaL_unref(L, LUA_REGISTRYINDEX, *call->ref);
  return 0;
}

void bridge_forget(Bridge *bridge, int ref) {
  Call call = {0};
  int results = bridge->results;
  call.ref = &ref;
  (void)guarded(bridge, forget_protected, &call);
  bridge->results = results;
}

/* A table or userdata with __tostring says itself what it means. */
static int word_error(lua_State *L) {
  if (luaL_callmeta(L, 1, "__tostring") && lua_isstring(L, -1)) return 1;
  lua_pushfstring(L, "(error object is a %s value)", luaL_typename(L, 1));
  return 1;
}

void bridge_error(Bridge *bridge, const char **text, size_t *len) {
  lua_State *L = bridge->L;
  if (!lua_isstring(L, -1)) {
    lua_pushcfunction(L, word_error);
    lua_insert(L, -2);
    (void)lua_pcall(L, 1, 1, 0);
  }
  *text = lua_tolstring(L, -1, len);
  if (*text == NULL) {
    *text = "an error without a text";
    *len = strlen(*text);
  }
}
