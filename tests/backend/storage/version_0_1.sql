BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0007');
CREATE TABLE blocks (
	run INTEGER NOT NULL, 
	"update" INTEGER NOT NULL, 
	block SMALLINT NOT NULL, 
	cg_iterations INTEGER NOT NULL, 
	stop_reason VARCHAR(16) NOT NULL, 
	residual DOUBLE, 
	model_decrease DOUBLE, way VARCHAR(64), note VARCHAR(500), cost DOUBLE, predicted_cost DOUBLE, ritz_min DOUBLE, ritz_max DOUBLE, step_norm DOUBLE, 
	CONSTRAINT pk_blocks PRIMARY KEY (run, "update", block), 
	CONSTRAINT fk_blocks_run FOREIGN KEY(run) REFERENCES runs (number) ON DELETE CASCADE
)
 WITHOUT ROWID

;
INSERT INTO "blocks" VALUES(1,1,0,30,'iterations',0.1,0.5,'generic',NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "blocks" VALUES(1,1,1,30,'iterations',0.1,0.5,'samples',NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "blocks" VALUES(1,2,0,30,'iterations',0.1,0.5,'generic',NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "blocks" VALUES(1,2,1,30,'iterations',0.1,0.5,'samples',NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "blocks" VALUES(1,3,0,30,'iterations',0.1,0.5,'generic',NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "blocks" VALUES(1,3,1,30,'iterations',0.1,0.5,'samples',NULL,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE experiments (
	number INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	id VARCHAR(32) NOT NULL, 
	name TEXT NOT NULL, 
	spec TEXT NOT NULL, 
	idempotency_key VARCHAR(200), 
	created_at DOUBLE NOT NULL, note TEXT DEFAULT '' NOT NULL, tags TEXT DEFAULT '[]' NOT NULL, archived BOOLEAN DEFAULT 0 NOT NULL, deleted_at DOUBLE, purging BOOLEAN DEFAULT 0 NOT NULL, 
	CONSTRAINT uq_experiments_id UNIQUE (id), 
	CONSTRAINT uq_experiments_idempotency_key UNIQUE (idempotency_key)
);
INSERT INTO "experiments" VALUES(1,'fqr9voyg152zv6k6','before','{"problem":{"name":"autoencoder","data":"mnist-5k","train_size":null,"test_size":null,"options":{}},"budget":{"updates":3,"epochs":null,"seconds":null,"patience":null},"evaluation":{"every":1,"train_subset":1000,"polyak_decay":null},"device":"auto","precision":"float32","threads":null,"name":"before","optimizers":[{"learning_rate":0.1,"gradient_batch":1000,"curvature_batch":250,"damping":0.1,"max_cg_iterations":30,"cg_stop":"iterations","cg_tolerance":0.0005,"momentum":0.95,"curvature_way":"auto","memory_limit":512,"adaptive_damping":false,"backtracking":false,"line_search":false,"preconditioner":false,"product_precision":"full","kind":"bhf","partition":{"kind":"problem"},"block_damping":"0.1 0.5"},{"learning_rate":0.1,"gradient_batch":1000,"curvature_batch":250,"damping":0.0,"max_cg_iterations":30,"cg_stop":"iterations","cg_tolerance":0.0005,"momentum":0.5,"curvature_way":"generic","memory_limit":512,"adaptive_damping":false,"backtracking":false,"line_search":false,"preconditioner":false,"product_precision":"full","kind":"hf"},{"kind":"adam","learning_rate":0.001,"gradient_batch":1000,"beta1":0.9,"beta2":0.999,"eps":1e-8}],"seeds":[0],"reproduces":"study.momentum"}',NULL,1790000000.0,'','[]',0,NULL,0);
CREATE TABLE presets (
	slug VARCHAR(64) NOT NULL, 
	title TEXT NOT NULL, 
	spec TEXT NOT NULL, 
	saved_at DOUBLE NOT NULL, 
	CONSTRAINT pk_presets PRIMARY KEY (slug)
);
INSERT INTO "presets" VALUES('mine','mine','{"problem":{"name":"autoencoder","data":"mnist-5k","train_size":null,"test_size":null,"options":{}},"budget":{"updates":3,"epochs":null,"seconds":null,"patience":null},"evaluation":{"every":1,"train_subset":1000,"polyak_decay":null},"device":"auto","precision":"float32","threads":null,"name":"before","optimizers":[{"learning_rate":0.1,"gradient_batch":1000,"curvature_batch":250,"damping":0.1,"max_cg_iterations":30,"cg_stop":"iterations","cg_tolerance":0.0005,"momentum":0.95,"curvature_way":"auto","memory_limit":512,"adaptive_damping":false,"backtracking":false,"line_search":false,"preconditioner":false,"product_precision":"full","kind":"bhf","partition":{"kind":"problem"},"block_damping":"0.1 0.5"},{"learning_rate":0.1,"gradient_batch":1000,"curvature_batch":250,"damping":0.0,"max_cg_iterations":30,"cg_stop":"iterations","cg_tolerance":0.0005,"momentum":0.5,"curvature_way":"generic","memory_limit":512,"adaptive_damping":false,"backtracking":false,"line_search":false,"preconditioner":false,"product_precision":"full","kind":"hf"},{"kind":"adam","learning_rate":0.001,"gradient_batch":1000,"beta1":0.9,"beta2":0.999,"eps":1e-8}],"seeds":[0],"reproduces":"study.momentum"}',1790000000.0);
CREATE TABLE "runs" (
	number INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	id VARCHAR(32) NOT NULL, 
	experiment INTEGER NOT NULL, 
	problem VARCHAR(64) NOT NULL, 
	data VARCHAR(64) NOT NULL, 
	config TEXT NOT NULL, 
	status VARCHAR(16) NOT NULL, 
	cancel_requested BOOLEAN NOT NULL, 
	token INTEGER NOT NULL, 
	attempts INTEGER NOT NULL, 
	stalled INTEGER NOT NULL, 
	furthest INTEGER NOT NULL, 
	lease_until DOUBLE, 
	worker VARCHAR(32), 
	created_at DOUBLE NOT NULL, 
	started_at DOUBLE, 
	finished_at DOUBLE, 
	ended_by VARCHAR(200) NOT NULL, 
	error TEXT, 
	environment TEXT NOT NULL, 
	blocks TEXT NOT NULL, 
	parameters BIGINT, 
	updates INTEGER NOT NULL, 
	epoch DOUBLE NOT NULL, 
	seconds DOUBLE NOT NULL, 
	cost DOUBLE NOT NULL, 
	last_train_loss DOUBLE, 
	best_train_loss DOUBLE, 
	last_test_loss DOUBLE, 
	best_test_loss DOUBLE, 
	last_test_accuracy DOUBLE, 
	best_test_accuracy DOUBLE, 
	pause_requested BOOLEAN DEFAULT 0 NOT NULL, 
	priority SMALLINT DEFAULT '0' NOT NULL, 
	edition INTEGER DEFAULT '0' NOT NULL, 
	begun INTEGER DEFAULT '0' NOT NULL, 
	checkpoint TEXT, 
	notes TEXT DEFAULT '[]' NOT NULL, 
	weights VARCHAR(64), 
	CONSTRAINT uq_runs_id UNIQUE (id), 
	CONSTRAINT fk_runs_experiment FOREIGN KEY(experiment) REFERENCES experiments (number) ON DELETE CASCADE, 
	CONSTRAINT ck_runs_status CHECK (status in ('queued', 'running', 'paused', 'finished', 'failed', 'cancelled'))
);
INSERT INTO "runs" VALUES(1,'vsbgve79c98rygow',1,'autoencoder','mnist-5k','{"problem":{"name":"autoencoder","data":"mnist-5k","train_size":null,"test_size":null,"options":{}},"budget":{"updates":3,"epochs":null,"seconds":null,"patience":null},"evaluation":{"every":1,"train_subset":1000,"polyak_decay":null},"device":"auto","precision":"float32","threads":null,"optimizer":{"learning_rate":0.1,"gradient_batch":1000,"curvature_batch":250,"damping":0.1,"max_cg_iterations":30,"cg_stop":"iterations","cg_tolerance":0.0005,"momentum":0.95,"curvature_way":"auto","memory_limit":512,"adaptive_damping":false,"backtracking":false,"line_search":false,"preconditioner":false,"product_precision":"full","kind":"bhf","partition":{"kind":"problem"},"block_damping":"0.1 0.5"},"seed":0}','finished',0,1,1,1,0,NULL,'10tc6x7yi6tkos6z',1790000000.0,1790000000.0,1790000000.0,'updates = 3 reached',NULL,'{"device":"cpu"}','[["encoder.hidden_1","encoder.hidden_2","encoder.hidden_3","encoder.code"],["decoder.hidden_3","decoder.hidden_2","decoder.hidden_1","decoder.output"]]',10,3,0.6,3.0,27.0,1.33333333333333339256e+01,1.33333333333333339256e+01,15.0,15.0,NULL,NULL,0,0,1,1,NULL,'[]',NULL);
INSERT INTO "runs" VALUES(2,'uin7vf29ix3aqklf',1,'autoencoder','mnist-5k','{"problem":{"name":"autoencoder","data":"mnist-5k","train_size":null,"test_size":null,"options":{}},"budget":{"updates":3,"epochs":null,"seconds":null,"patience":null},"evaluation":{"every":1,"train_subset":1000,"polyak_decay":null},"device":"auto","precision":"float32","threads":null,"optimizer":{"learning_rate":0.1,"gradient_batch":1000,"curvature_batch":250,"damping":0.0,"max_cg_iterations":30,"cg_stop":"iterations","cg_tolerance":0.0005,"momentum":0.5,"curvature_way":"generic","memory_limit":512,"adaptive_damping":false,"backtracking":false,"line_search":false,"preconditioner":false,"product_precision":"full","kind":"hf"},"seed":0}','queued',0,0,0,0,0,NULL,NULL,1790000000.0,NULL,NULL,'',NULL,'{}','[]',NULL,0,0.0,0.0,0.0,NULL,NULL,NULL,NULL,NULL,NULL,0,0,0,0,NULL,'[]',NULL);
INSERT INTO "runs" VALUES(3,'1baekqykh2cjk05c',1,'autoencoder','mnist-5k','{"problem":{"name":"autoencoder","data":"mnist-5k","train_size":null,"test_size":null,"options":{}},"budget":{"updates":3,"epochs":null,"seconds":null,"patience":null},"evaluation":{"every":1,"train_subset":1000,"polyak_decay":null},"device":"auto","precision":"float32","threads":null,"optimizer":{"kind":"adam","learning_rate":0.001,"gradient_batch":1000,"beta1":0.9,"beta2":0.999,"eps":1e-8},"seed":0}','queued',0,0,0,0,0,NULL,NULL,1790000000.0,NULL,NULL,'',NULL,'{}','[]',NULL,0,0.0,0.0,0.0,NULL,NULL,NULL,NULL,NULL,NULL,0,0,0,0,NULL,'[]',NULL);
CREATE TABLE updates (
	run INTEGER NOT NULL, 
	"update" INTEGER NOT NULL, 
	epoch DOUBLE NOT NULL, 
	samples BIGINT NOT NULL, 
	seconds DOUBLE NOT NULL, 
	cost DOUBLE NOT NULL, 
	batch_loss DOUBLE, 
	train_loss DOUBLE, 
	test_loss DOUBLE, 
	test_accuracy DOUBLE, 
	gradient_norm DOUBLE, 
	step_norm DOUBLE, 
	diverged SMALLINT NOT NULL, cpu_seconds DOUBLE, gradient_seconds DOUBLE, curvature_seconds DOUBLE, evaluation_seconds DOUBLE, scale DOUBLE, reduction_ratio DOUBLE, loss_decrease DOUBLE, 
	CONSTRAINT pk_updates PRIMARY KEY (run, "update"), 
	CONSTRAINT fk_updates_run FOREIGN KEY(run) REFERENCES runs (number) ON DELETE CASCADE
)
 WITHOUT ROWID

;
INSERT INTO "updates" VALUES(1,1,0.2,1000,1.0,9.0,50.0,40.0,45.0,NULL,1.0,1.0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "updates" VALUES(1,2,0.4,2000,2.0,18.0,25.0,20.0,22.5,NULL,1.0,1.0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "updates" VALUES(1,3,0.6,3000,3.0,27.0,1.66666666666666678513e+01,1.33333333333333339256e+01,15.0,NULL,1.0,1.0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE workers (
	id VARCHAR(32) NOT NULL, 
	info TEXT NOT NULL, 
	catalog TEXT NOT NULL, 
	registered_at DOUBLE NOT NULL, 
	seen_at DOUBLE NOT NULL, 
	CONSTRAINT pk_workers PRIMARY KEY (id)
);
INSERT INTO "workers" VALUES('10tc6x7yi6tkos6z','{"name":"old","device":"cpu","threads":1,"memory":null,"versions":{}}','{"problems":[{"name":"autoencoder","title":"Deep autoencoder","summary":"Squeezes an image into 30 numbers and reproduces it: 8 dense layers, tanh, squared error, 2 blocks.","options":{"additionalProperties":false,"description":"Widths of the encoder''s layers, which the decoder mirrors, and the output.","properties":{"hidden_1":{"default":1000,"description":"width of the first hidden layer","maximum":4096,"minimum":1,"paper":1000,"title":"Hidden 1","type":"integer","unit":"units"},"hidden_2":{"default":500,"description":"width of the second hidden layer","maximum":4096,"minimum":1,"paper":500,"title":"Hidden 2","type":"integer","unit":"units"},"hidden_3":{"default":250,"description":"width of the third hidden layer","maximum":4096,"minimum":1,"paper":250,"title":"Hidden 3","type":"integer","unit":"units"},"code":{"default":30,"description":"numbers that an image is squeezed into","maximum":4096,"minimum":1,"paper":30,"title":"Code","type":"integer","unit":"units"},"output":{"default":"linear","description":"non-linearity of the output, which the paper does not state","enum":["linear","sigmoid"],"title":"Output","type":"string","unit":""}},"title":"AutoencoderOptions","type":"object"},"layers":[{"name":"encoder.hidden_1","parameters":{"weight":["hidden_1","inputs"],"bias":["hidden_1"]}},{"name":"encoder.hidden_2","parameters":{"weight":["hidden_2","hidden_1"],"bias":["hidden_2"]}},{"name":"encoder.hidden_3","parameters":{"weight":["hidden_3","hidden_2"],"bias":["hidden_3"]}},{"name":"encoder.code","parameters":{"weight":["code","hidden_3"],"bias":["code"]}},{"name":"decoder.hidden_3","parameters":{"weight":["hidden_3","code"],"bias":["hidden_3"]}},{"name":"decoder.hidden_2","parameters":{"weight":["hidden_2","hidden_3"],"bias":["hidden_2"]}},{"name":"decoder.hidden_1","parameters":{"weight":["hidden_1","hidden_2"],"bias":["hidden_1"]}},{"name":"decoder.output","parameters":{"weight":["inputs","hidden_1"],"bias":["inputs"]}}],"partition":[["encoder.hidden_1","encoder.hidden_2","encoder.hidden_3","encoder.code"],["decoder.hidden_3","decoder.hidden_2","decoder.hidden_1","decoder.output"]],"data":["mnist-5k"],"accuracy":false,"loss_unit":"squared error, sum over the pixels, mean over the images","preset":{"problem":{"name":"autoencoder","data":"mnist-5k","train_size":null,"test_size":null,"options":{}},"budget":{"updates":100,"epochs":null,"seconds":null,"patience":null},"evaluation":{"every":1,"train_subset":1000,"polyak_decay":null},"device":"auto","precision":"float32","threads":null,"name":"Deep autoencoder, the paper''s settings","optimizers":[{"kind":"adam","learning_rate":0.001,"gradient_batch":1000,"beta1":0.9,"beta2":0.999,"eps":1e-8},{"learning_rate":0.1,"gradient_batch":1000,"curvature_batch":250,"damping":0.0,"max_cg_iterations":30,"cg_stop":"iterations","cg_tolerance":0.0005,"momentum":0.95,"curvature_way":"auto","memory_limit":512,"adaptive_damping":false,"backtracking":false,"line_search":false,"preconditioner":false,"product_precision":"full","kind":"hf"},{"learning_rate":0.1,"gradient_batch":1000,"curvature_batch":250,"damping":0.0,"max_cg_iterations":30,"cg_stop":"iterations","cg_tolerance":0.0005,"momentum":0.95,"curvature_way":"auto","memory_limit":512,"adaptive_damping":false,"backtracking":false,"line_search":false,"preconditioner":false,"product_precision":"full","kind":"bhf","partition":{"kind":"problem"},"block_damping":""}],"seeds":[0],"reproduces":null}}],"data":[{"name":"mnist-5k","title":"MNIST, 5,000 digits","train_size":4000,"test_size":1000,"shape":[1,28,28],"classes":10,"embedded":true}]}',1790000000.0,1790000000.0);
CREATE INDEX ix_workers_seen_at ON workers (seen_at);
CREATE INDEX ix_runs_status_number ON runs (status, number);
CREATE INDEX ix_runs_experiment ON runs (experiment);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('runs',3);
INSERT INTO "sqlite_sequence" VALUES('experiments',1);
COMMIT;
