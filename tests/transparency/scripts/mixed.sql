PRAGMA cache_size = 50;
CREATE TABLE author(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, born INT);
CREATE TABLE book(id INTEGER PRIMARY KEY, author INT REFERENCES author(id), title TEXT, price REAL, cover BLOB, data TEXT);
CREATE INDEX book_author ON book(author, price);
CREATE TABLE log(what TEXT, id INT);
CREATE TRIGGER book_log AFTER UPDATE ON book BEGIN INSERT INTO log VALUES('update', new.id); END;
BEGIN;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200)
  INSERT INTO author SELECT i, printf('author %03d', i * 37 % 211), 1800 + i % 150 FROM n;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 6000)
  INSERT INTO book SELECT i, 1 + i * 7919 % 200, 'title ' || hex(i * 2654435761 % 65536), (i * 31 % 1000) / 10.0,
    zeroblob(i % 50) , json_object('pages', i % 700, 'tags', json_array('t' || (i % 7), 't' || (i % 5))) FROM n;
COMMIT;
.mode list
SELECT count(*), sum(price), avg(price), min(title), max(length(cover)) FROM book;
SELECT a.name, count(b.id) AS n, round(sum(b.price), 2), group_concat(b.id % 10, '') FROM author a LEFT JOIN book b ON b.author = a.id
  GROUP BY a.id HAVING n > 29 ORDER BY n DESC, a.name LIMIT 12;
SELECT json_extract(data, '$.tags[0]') AS tag, count(*), sum(json_extract(data, '$.pages')) FROM book GROUP BY tag ORDER BY tag;
SELECT value, count(*) FROM book, json_each(book.data, '$.tags') WHERE book.id < 500 GROUP BY value ORDER BY 2 DESC, 1;
SELECT id, price, rank() OVER (PARTITION BY author ORDER BY price DESC, id) AS r, sum(price) OVER (ORDER BY id ROWS 3 PRECEDING)
  FROM book WHERE author IN (3, 5, 8) ORDER BY author, r LIMIT 20;
SELECT count(*) FROM book b1 JOIN book b2 ON b1.price = b2.price AND b1.id < b2.id WHERE b1.author < 20;
SELECT title FROM book WHERE title LIKE '%AB%' OR title GLOB '*[0-3]F?' ORDER BY title COLLATE NOCASE LIMIT 15;
UPDATE book SET price = price * 1.1, cover = x'ab' WHERE author % 17 = 0;
DELETE FROM book WHERE id % 13 = 5;
SELECT count(*), (SELECT count(*) FROM log), typeof(cover), quote(x'00ff7f') FROM book;
INSERT OR IGNORE INTO author VALUES(1, 'again', 0);
INSERT INTO author VALUES(1, 'refused', 0);
SAVEPOINT s; DELETE FROM author; SELECT count(*) FROM author; ROLLBACK TO s; RELEASE s; SELECT count(*) FROM author;
ATTACH ':memory:' AS m;
CREATE VIRTUAL TABLE m.words USING fts5(body);
INSERT INTO m.words SELECT title || ' by author number ' || author FROM book WHERE id < 800;
SELECT rowid, body FROM m.words WHERE words MATCH 'author AND number AND 17' ORDER BY rowid LIMIT 5;
SELECT strftime('%Y-%m-%d', 1700000000, 'unixepoch', '+1 month'), julianday('2000-01-01'), upper('abc') || substr('hello', -3), abs(-3.5), 7 / 2, 7 % 3, 1e3, 9223372036854775807 + 1;
EXPLAIN QUERY PLAN SELECT * FROM book WHERE author = 3 AND price > 5;
DETACH m;
VACUUM;
PRAGMA integrity_check;
.mode csv
SELECT id, title, price FROM book ORDER BY price, id LIMIT 10;
.dump log
SELECT no_such_column FROM book;
