/* math.random and math.randomseed, for each state its own. LuaJIT's generator (Tausworthe, 223 bits, by L'Ecuyer), so that a script that seeds
   it gets LuaJIT's numbers. */
#include "bridge.h"

#include <math.h>
#include <string.h>

#include "lauxlib.h"

typedef struct Random {
  uint64_t word[4];
} Random;

/* Its address is the key of the registry: unlike a text it takes no memory, so seeding cannot fail. */
static const char RANDOM = 0;

/* The four components: their lengths k, shifts q and steps s. */
static const struct {
  int k, q, s;
} COMPONENT[4] = {{63, 31, 18}, {58, 19, 28}, {55, 24, 7}, {47, 21, 8}};

static uint64_t next(Random *random) {
  uint64_t all = 0;
  int i;
  for (i = 0; i < 4; i++) {
    int k = COMPONENT[i].k, q = COMPONENT[i].q, s = COMPONENT[i].s;
    uint64_t word = random->word[i];
    /* Of a word of 64 bits the first k count. */
    uint64_t kept = word & (~(uint64_t)0 << (64 - k));
    word = (((word << q) ^ word) >> (k - s)) ^ (kept << s);
    random->word[i] = word;
    all ^= word;
  }
  return all;
}

static void seed(Random *random, double from) {
  int i;
  for (i = 0; i < 4; i++) {
    /* None of the components may start with its first k bits all zero. */
    uint64_t least = (uint64_t)1 << (64 - COMPONENT[i].k);
    from = from * 3.14159265358979323846 + 2.7182818284590452354;
    memcpy(&random->word[i], &from, sizeof from);
    if (random->word[i] < least) random->word[i] += least;
  }
  for (i = 0; i < 10; i++) next(random);
}

/* From 0 to 1, 1 excluded. */
static double unit(Random *random) {
  uint64_t bits = (next(random) & 0x000fffffffffffffull) | 0x3ff0000000000000ull;
  double number;
  memcpy(&number, &bits, sizeof number);
  return number - 1.0;
}

static Random *self(lua_State *L) {
  return (Random *)lua_touserdata(L, lua_upvalueindex(1));
}

/* No empty interval is refused, as in LuaJIT. */
static int math_random(lua_State *L) {
  int count = lua_gettop(L);
  double number = unit(self(L));
  if (count > 0) {
    double low = 1, high = luaL_checknumber(L, 1);
    if (count > 1) {
      low = high;
      high = luaL_checknumber(L, 2);
    }
    number = floor(number * (high - low + 1.0)) + low;
  }
  lua_pushnumber(L, number);
  return 1;
}

static int math_randomseed(lua_State *L) {
  seed(self(L), luaL_checknumber(L, 1));
  return 0;
}

static void set(lua_State *L, const char *name, lua_CFunction function) {
  lua_pushvalue(L, -2);
  lua_pushcclosure(L, function, 1);
  lua_setfield(L, -2, name);
}

/* The library math on top. */
void random_open(lua_State *L) {
  lua_newuserdata(L, sizeof(Random));
  lua_pushlightuserdata(L, (void *)&RANDOM);
  lua_pushvalue(L, -2);
  lua_rawset(L, LUA_REGISTRYINDEX);
  lua_insert(L, -2);
  set(L, "random", math_random);
  set(L, "randomseed", math_randomseed);
  lua_remove(L, -2);
}

void bridge_seed_random(lua_State *L, uint64_t from) {
  Random *random;
  int i;
  lua_pushlightuserdata(L, (void *)&RANDOM);
  lua_rawget(L, LUA_REGISTRYINDEX);
  random = (Random *)lua_touserdata(L, -1);
  lua_pop(L, 1);
  for (i = 0; i < 4; i++) {
    /* splitmix64: every bit of the seed reaches every word. */
    uint64_t mixed = from += 0x9e3779b97f4a7c15ull;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9ull;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebull;
    random->word[i] = (mixed ^ (mixed >> 31)) | ((uint64_t)1 << 32);
  }
  for (i = 0; i < 10; i++) next(random);
}
